"""A run folder as the beginning of a lab: the training goes on from its checkpoint, on its own text."""

from __future__ import annotations

import copy
import dataclasses
import functools
import io
from pathlib import Path
from typing import Any

from tinygrad_llm.architectures import architecture_of
from tinygrad_llm.errors import TinygradLLMError
from tinygrad_llm.formats import newest_whole_snapshot
from tinygrad_llm.lab.beginnings import ENDLESS, SETTINGS, Beginning, Text, encoded_text, new_trainer
from tinygrad_llm.runs.checkpoint_files import OPTIMIZER, read_checkpoint
from tinygrad_llm.runs.checkpoints import CHECKPOINTS, run_of
from tinygrad_llm.runs.encoding import encoded_before
from tinygrad_llm.runs.plan import RunPlan
from tinygrad_llm.runs.pretraining import IDS, TextOptions, training_text
from tinygrad_llm.runs.progress import StatusLine
from tinygrad_llm.runs.run_folder import read_config
from tinygrad_llm.text import Tokenizer
from tinygrad_llm.train import Trainer

BEGINNING = 200_000  # characters of a text, for a byte pair encoding of its own


def checkpoint_of(model: Path) -> Path | None:
    """The checkpoint itself, or the newest whole one of a run; None unless it has an optimizer's state."""
    run = run_of(model)
    found = model if run != model else newest_whole_snapshot(run / CHECKPOINTS)[0]
    return found if found is not None and (found / OPTIMIZER).is_file() else None


def run_beginning(path: Path, model: Any, tokenizer: Tokenizer) -> Beginning | None:
    """The run in `path`, to be trained further; None for a folder that pretraining did not make.

    Until the last step of the run, a step is that of the run; after it, the learning rate stays as it is.
    """
    checkpoint = checkpoint_of(path)
    config = read_config(path)
    if checkpoint is None or "training" not in config or config.get("task"):
        return None
    plan = RunPlan.from_config(config, "", TextOptions(), run_of(path))
    settings = dataclasses.replace(plan.training, steps=ENDLESS, sample_interval=0, workers=SETTINGS.workers)

    @functools.cache
    def text() -> Text:
        return _text_of(plan, run_of(path), tokenizer, model.config.context_length)

    def start() -> Trainer:
        own = copy.deepcopy(model)
        of_run = dataclasses.replace(settings, steps=plan.training.steps)
        schedule = Trainer(own, None, of_run).learning_rate  # before the trainer from which dropout draws
        trainer = new_trainer(own, text(), settings)
        trainer.learning_rate = lambda step: schedule(min(step, max(plan.training.steps - 1, 0)))
        read_checkpoint(checkpoint, trainer)
        return trainer

    title = f"{architecture_of(model).words} of {model.num_parameters():,} parameters, {path}"
    return Beginning(title, model, tokenizer, text, start)


def _text_of(plan: RunPlan, run: Path, tokenizer: Tokenizer, context: int) -> Text:
    """The text of the run as ids: those that it wrote, or else encoded again. Raises: DataError, ConfigError"""
    name = str(plan.options.data)
    folder = Path(plan.options.ids or run / IDS)
    try:
        encoded = None if plan.data_sha256 is None else encoded_before(folder, plan.data_sha256, tokenizer)
    except TinygradLLMError:  # damaged; the text itself decides
        encoded = None
    if encoded is not None:
        return Text(name, encoded.train, encoded.validation, tokenizer.decode(encoded.train[: BEGINNING // 4]))
    content = "".join(training_text(plan, StatusLine(io.StringIO())).blocks())
    return encoded_text(name, content, tokenizer, context)
