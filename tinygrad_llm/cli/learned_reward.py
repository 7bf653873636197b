"""A reward model in a run folder, as the reward of answers."""

from __future__ import annotations

from pathlib import Path

from tinygrad_llm.cli.prompt_forms import end_id, form_of, style_of
from tinygrad_llm.errors import ConfigError
from tinygrad_llm.finetune.reward import LearnedReward
from tinygrad_llm.runs.open_model import conventions_of, open_model


def open_reward(folder: Path, style: str, flag: str = "--reward-model") -> LearnedReward:
    """The reward of the model in `folder`, which is asked in the style it was trained with, else in `style`.

    Raises: ConfigError for a model that is no reward model, named by its `flag`, and as `open_model`
    """
    try:
        model, tokenizer = open_model(folder, "reward score")
    except ConfigError as error:
        raise ConfigError(str(error).replace("--model must be", f"{flag} must be", 1)) from None
    conventions = conventions_of(folder, tokenizer)
    form = form_of(style_of(folder, conventions.template) or style, tokenizer, conventions)
    return LearnedReward(model, tokenizer, form, end_id(tokenizer, conventions, form))
