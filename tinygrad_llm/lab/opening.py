"""Open a lab: on a new model, or on a run, a checkpoint or another's model."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from tinygrad_llm.lab.beginnings import new_model, trained_model
from tinygrad_llm.lab.session import Session
from tinygrad_llm.runs.open_model import open_model


def open_lab(model: Path | None = None, data: str | None = None) -> Session:
    """A session that trains a small GPT on a text, or that shows a model and can train it further.

    Raises: DataError, ConfigError, CheckpointError, FormatError for files that cannot be used
    """
    if model is None:
        return Session(new_model(data))
    opened, tokenizer = open_model(model, "lab")
    return Session(trained_model(opened, tokenizer, str(model), data), _checkpoints(model))


def _checkpoints(model: Path) -> dict[str, Callable[[], tuple[Any, Any]]]:
    """The checkpoints of a run folder, by name."""
    return {}
