"""Open a run folder for a command that accepts only some architectures."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tinygrad_llm.architectures import architecture_of, taken_by
from tinygrad_llm.errors import ConfigError
from tinygrad_llm.runs import load
from tinygrad_llm.runs.hints import command as command_line
from tinygrad_llm.text import Tokenizer


def open_model(path: str | Path, command: str) -> tuple[Any, Tokenizer]:
    """The model of a run folder and its tokenizer.

    Raises: ConfigError for a model that `command` does not take, and as `runs.load`
    """
    model, tokenizer = load(path)
    expect_taken(model, command, path)
    return model, tokenizer


def expect_taken(model: Any, command: str, path: str | Path) -> None:
    """Raises ConfigError for a model that `command` does not take."""
    held, takes = architecture_of(model), taken_by(command)
    if held not in takes:
        raise ConfigError(
            f"--model must be {' or '.join(one.words for one in takes)}; {path} holds {held.words}: "
            f"`{command_line(*takes[0].command.split())}` makes {takes[0].words}"
        )
