"""`--model PATH`, the model that a command works on: the newest run in runs/ where none is named."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tinygrad_llm.text import Tokenizer


def add_model_argument(parser: argparse.ArgumentParser, words: str) -> None:
    """`--model PATH`; `words` say of which model."""
    parser.add_argument(
        "--model",
        type=Path,
        metavar="PATH",
        help=f"run folder, Hugging Face folder or GGUF file of {words} (default: the newest run)",
    )


def chosen_run(named: Path | None, command: str) -> Path:
    """The run folder that was named, else the newest one that `command` takes, which is told on standard error.

    Raises: DataError if there is none
    """
    from tinygrad_llm.runs.summary import newest_taken_by
    from tinygrad_llm.terminal import for_terminal

    if named is not None:
        return named
    newest = newest_taken_by(command)
    print(for_terminal(f"--model {newest} (the newest run)", sys.stderr), file=sys.stderr)
    return newest


def open_chosen_run(arguments: argparse.Namespace, command: str) -> tuple[Any, Tokenizer]:
    """The model of --model and its tokenizer; `arguments.model` is the folder afterwards.

    Raises: ConfigError for a model that `command` does not take, and as `runs.load`
    """
    from tinygrad_llm.runs.open_model import open_model
    from tinygrad_llm.runs.status_line import StatusLine

    arguments.model = chosen_run(arguments.model, command)
    with StatusLine(sys.stderr).working(f"loading {arguments.model}"):
        return open_model(arguments.model, command)
