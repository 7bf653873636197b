"""Open a lab: on a new model, on a run or a checkpoint, or on somebody else's model."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from tinygrad_llm.architectures import taken_by
from tinygrad_llm.errors import TinygradLLMError
from tinygrad_llm.lab.beginnings import new_model, trained_model
from tinygrad_llm.lab.run_beginning import checkpoint_of, run_beginning
from tinygrad_llm.lab.session import Session
from tinygrad_llm.runs import load
from tinygrad_llm.runs.chat_model import ChatModel
from tinygrad_llm.runs.checkpoint_files import WEIGHTS
from tinygrad_llm.runs.checkpoints import CONFIG, checkpoint_at, checkpoint_steps, run_of
from tinygrad_llm.runs.open_model import is_foreign, open_model
from tinygrad_llm.runs.run_folder import read_config
from tinygrad_llm.runs.summary import RUNS

Models = dict[str, Callable[[], tuple[Any, Any]]]


def open_lab(model: Path | None = None, data: str | None = None) -> Session:
    """A session that trains a small GPT on a text, or that shows a model and can train it further.

    A run is trained further on its own text, from its checkpoint; with `data`, and other models, with new moments.

    Raises: DataError, ConfigError, CheckpointError, FormatError for files that cannot be used
    """
    if model is None:
        return Session(new_model(data), _runs_in(RUNS))
    opened, tokenizer = open_model(model, "lab")
    is_run = not is_foreign(model)
    beginning = run_beginning(model, opened, tokenizer) if is_run and data is None else None
    checkpoint = checkpoint_of(model) if beginning is not None else None
    if beginning is None:
        beginning = trained_model(opened, tokenizer, str(model), data)
    chat = ChatModel.of(model, tokenizer)
    session = Session(dataclasses.replace(beginning, chat=chat), _others(model))
    if checkpoint is not None:
        session.keep_in = run_of(model), checkpoint
    return session


def _others(model: Path) -> Models:
    """The checkpoints of the same run, and the runs beside it."""
    run = run_of(model)
    steps = {f"step {step}": partial(load, checkpoint_at(run, step)) for step in checkpoint_steps(run)}
    return {**steps, **_runs_in(run.resolve().parent, but=run.resolve().name)}


def _runs_in(folder: Path, but: str = "") -> Models:
    """The runs in a folder whose models predict the next token."""
    known = {architecture.name for architecture in taken_by("lab")}
    found: Models = {}
    for config in sorted(folder.glob(f"*/{CONFIG}")):
        run = config.parent
        try:
            if run.name != but and read_config(run)["model_type"] in known and (run / WEIGHTS).is_file():
                found[run.name] = partial(load, run)
        except (TinygradLLMError, OSError):
            continue  # not a run, or a damaged one: `list` says so
    return found
