"""Train a language model by reinforcement learning on its own answers (PPO or GRPO)."""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from tinygrad_llm.cli import instruct
from tinygrad_llm.cli.finetuning import add_training_arguments, train
from tinygrad_llm.cli.learned_reward import open_reward
from tinygrad_llm.cli.lora_options import LoRAOptions
from tinygrad_llm.cli.prompt_forms import end_id, ends_of, fitting_of, form_of, style_that_suits
from tinygrad_llm.errors import ConfigError
from tinygrad_llm.finetune import constant_answers, evaluate_instructions, frozen_copy
from tinygrad_llm.finetune.grpo import GRPO
from tinygrad_llm.finetune.ppo import PPO
from tinygrad_llm.finetune.reinforcement import (
    HeldOutQuestions,
    ReinforcementLoss,
    RolloutLoader,
    RolloutSettings,
    greedy_answers,
)
from tinygrad_llm.finetune.reward import Reward, right_answers
from tinygrad_llm.finetune.rollouts import add_value_head, without_value_head
from tinygrad_llm.random import Generator
from tinygrad_llm.runs import StatusLine
from tinygrad_llm.runs.fine_tuning import Base, FineTuning, Job
from tinygrad_llm.settings import setting, setting_of
from tinygrad_llm.text import Tokenizer
from tinygrad_llm.train import TrainingSettings

EVALUATED_TOGETHER = 32  # questions


@dataclass(frozen=True)
class Options(RolloutSettings, LoRAOptions):
    reward_model: str = setting(
        "",
        "run folder of a reward model; without one, the reward is 1 for a record's output and 0 for any other answer",
        metavar="DIR",
    )
    data: str = setting(
        "",
        "a JSON or JSON Lines file of records with instruction, input and output; without one, records "
        "whose answers can be computed are generated",
        metavar="FILE",
    )
    records: int = setting(4000, "number of records to generate for training", least=1)
    kinds: str = setting(
        instruct.LEARNED_IN_MINUTES,
        "kinds of the generated records, separated by commas; empty: all kinds; a --model trained on some keeps them",
        metavar="NAMES",
    )
    style: str = setting_of(instruct.Options, "style", "phi3")
    value_coefficient: float = setting(0.5, "PPO: weight of the value function's loss", least=0)
    test_records: int = setting(200, "maximum number of held-out records to answer before and after training", least=1)


def prepare_job(
    base: Base, tokenizer: Tokenizer, options: Options, settings: TrainingSettings, status: StatusLine
) -> Job:
    """The base as the policy, a frozen copy as the reference, and a loader that asks the policy."""
    model, form = base.model, form_of(options.style, tokenizer, base.conventions)
    end, context = end_id(tokenizer, base.conventions, form), model.config.context_length
    ends = (end, *ends_of(base.conventions, form))
    records = zip(("train", "test", "validation"), instruct.records_of(options, settings.seed), strict=True)
    parts = {name: fitting_of(name, part, tokenizer, form, context, status) for name, part in records}
    options.expect_rank_within(model.config.embedding_dim)
    reference = frozen_copy(model)
    merged = options.add_updates(model) or type(model).state_dict
    loss: PPO | GRPO = GRPO(options.clip, options.beta)
    if options.method == "ppo":
        add_value_head(model)
        loss = PPO(options.clip, value_coefficient=options.value_coefficient)
    loader = RolloutLoader(
        model,
        reference,
        tokenizer,
        parts["train"],
        form,
        ends,
        _reward(options, tokenizer, status),
        options,
        settings.batch_size,
        Generator(settings.seed).spawn("rollouts"),
    )
    asked = parts["test"][: options.test_records]
    questions = parts["validation"][: options.test_records]
    constant = constant_answers(parts["train"], asked).to_dict()
    return Job(
        model,
        loader,
        [
            HeldOutQuestions(questions[start : start + EVALUATED_TOGETHER])
            for start in range(0, len(questions), EVALUATED_TOGETHER)
        ],
        lambda workers: evaluate_instructions(
            model,
            tokenizer,
            asked,
            form,
            options.max_new_tokens,
            ends,
            progress=instruct.progress_of(status),
            workers=workers,
        ).to_dict(),
        partial(instruct.describe, constant),
        ReinforcementLoss(loss, loader, greedy_answers(model, tokenizer, form, options.max_new_tokens, ends)),
        "instruct evaluate --model {model}",
        finished_weights=lambda model: without_value_head(merged(model)),
        baselines={"constant_answers": constant},
    )


def _reward(options: Options, tokenizer: Tokenizer, status: StatusLine) -> Reward:
    """The checked answers, or a reward model. Raises: ConfigError for a model of another tokenizer"""
    if not options.reward_model:
        return right_answers
    reward = open_reward(Path(options.reward_model), options.style)
    if reward.tokenizer.state() != tokenizer.state():
        raise ConfigError(
            f"--reward-model must have the tokenizer of --model; {options.reward_model} has another: "
            "train it on a model with the same tokenizer"
        )
    status.say(f"rewards by the reward model in {options.reward_model}")
    return reward


def options_that_suit(base: Path) -> dict[str, Any]:
    """Prompt style and kinds of a base that was trained on instructions."""
    suiting: dict[str, Any] = style_that_suits(base)
    kinds = instruct.kinds_learned(base)
    return {**suiting, "kinds": kinds} if kinds else suiting


TRAINING = FineTuning(
    "reinforce",
    Options(),
    TrainingSettings(
        steps=200,
        batch_size=64,
        learning_rate=2e-4,
        min_learning_rate=2e-5,
        warmup_steps=5,
        weight_decay=0.0,
        eval_interval=50,
    ),
    prepare_job,
    suits=options_that_suit,
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_training_arguments(parser, TRAINING)


def run(arguments: argparse.Namespace) -> int:
    return train(TRAINING, arguments)
