"""The command line: `tinygrad-llm COMMAND`, the same as `python -m tinygrad_llm COMMAND`. One file per command.

A command's file, and NumPy, are imported when the command is called: this file imports neither.

Exit codes: 0 done, 1 failed, 2 misused, 130 interrupted by Ctrl-C, 143 by SIGTERM, 129 by SIGHUP. An error is one line
on stderr; `--debug` shows where it came from.
"""

from __future__ import annotations

import argparse
import io
import os
import sys
import time
from collections.abc import Callable, Container, Sequence
from importlib import import_module
from types import ModuleType
from typing import Any, NoReturn

from tinygrad_llm.cli.help import HelpFormatter
from tinygrad_llm.errors import ConfigError, DataError, TinygradLLMError
from tinygrad_llm.train.parallel.launch import find_launch

# Name, file in this folder, and what the command does in one line.
COMMANDS = {
    "train": ("train", "Train a language model on a text, from nothing to a sample of generated text."),
    "generate": ("generate", "Generate text from a trained model."),
    "classify": ("classify", "Train a text classifier on a pretrained model, and use it."),
    "instruct": ("instruct", "Fine-tune a language model to follow instructions; answer and evaluate."),
    "prefer": ("prefer", "Fine-tune a language model on preferences between answers (DPO)."),
    "chat": ("chat", "Chat with a trained model in the terminal."),
    "evaluate": ("evaluate", "Evaluate a model on multiple-choice questions, zero-shot or few-shot."),
    "translate": ("translate", "Train an encoder-decoder on pairs of texts, and translate."),
    "bert": ("bert", "Train a BERT on masked tokens; fill masks in a text."),
    "doctor": ("doctor", "Check a model for what keeps it from learning, and name the usual cause."),
    "inspect": ("inspect", "Write a page of a model's numbers on a text: attention, gradients, predictions, costs."),
    "gradcheck": ("gradcheck", "Verify every gradient against finite differences and definitions."),
    "faults": ("faults", "Switch on a classic mistake; see which check finds it and how it changes a training."),
    "bench": ("bench", "Measure speed and memory of a training step, and how its cost grows."),
    "download": ("download", "Download GPT-2's weights from Hugging Face, in one of four sizes."),
    "import": ("import_model", "Make a run folder from a model in a Hugging Face folder."),
    "export": ("export_model", "Write a run's model as a Hugging Face folder, which transformers opens."),
}
SHARED_COMMANDS = ("train",)  # which several processes that mpiexec starts run together
SECONDS_BEFORE_ABORT = 1.0  # in which the first process reports an error that all have met
LONGEST_MESSAGE = 2000  # characters: a million spaces that were refused need not all be shown
LONGEST_WORD = 240  # characters of a path or a value in a message; the middle of a longer one is left out


class Parser(argparse.ArgumentParser):
    """Reports misuse in one line, as all other errors are reported."""

    def exit(self, status: int = 0, message: str | None = None) -> NoReturn:
        _discard_unread_output()  # a page of --help
        super().exit(status, message)

    def error(self, message: str) -> NoReturn:
        self.exit(2, "" if _is_secondary_process() else f"{self.prog}: {_one_line(message)}; see {self.prog} --help\n")


def command_module(name: str) -> ModuleType:
    """The file of a command, imported now. It has `add_arguments(parser)` and `run(arguments)`."""
    return import_module(f"{__name__}.{COMMANDS[name][0]}")


def build_parser(described: Container[str] | None = COMMANDS) -> argparse.ArgumentParser:
    """The parser of the program; only the commands `described` are imported and have their arguments."""
    parser = Parser(
        prog="tinygrad-llm",
        description="A large language model all the way down, on NumPy: train a GPT and generate text.",
        epilog="Start with `tinygrad-llm train`: it trains a small GPT on Python's own documentation in a few minutes.",
    )
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for name, (_, summary) in COMMANDS.items():
        command = commands.add_parser(name, help=summary, description=summary, formatter_class=HelpFormatter)
        command.add_argument("--debug", action="store_true", help="on an error, show the whole traceback")
        if described is not None and name in described:
            command_module(name).add_arguments(command)
    return parser


def main(argv: Sequence[str] | None = None, loaded: Callable[[], object] = lambda: None) -> int:
    """Run one command and return its exit code. `loaded` is called when the command is imported and about to run."""
    words = sys.argv[1:] if argv is None else [str(word) for word in argv]
    parser = build_parser([word for word in words if not word.startswith("-")][:1])
    arguments = parser.parse_args(words)
    _expect_valid_text(parser, arguments)
    if (launch := find_launch()) and launch.size > 1 and arguments.command not in SHARED_COMMANDS:
        parser.error(f"{arguments.command} is work for one process; start it without mpiexec, which is for `train`")
    if isinstance(sys.stdout, io.TextIOWrapper):  # a character that the terminal lacks must not end a run
        sys.stdout.reconfigure(errors="backslashreplace")
    import numpy as np

    loaded()
    try:
        with np.errstate(all="ignore"):  # NaN and infinity end in errors of this package, without NumPy's warnings
            code: int = command_module(arguments.command).run(arguments)
        sys.stdout.flush()
        return code
    except KeyboardInterrupt:
        return _end(130, "\ninterrupted")
    except BrokenPipeError:
        return _end(1)
    except Exception as error:
        if arguments.debug:
            if _joined_processes().size == 1:
                raise
            import traceback

            traceback.print_exc()
        code = 2 if isinstance(error, ConfigError | DataError) else 1
        return _end(code, f"tinygrad-llm {arguments.command}: {_message_of(error)}")


def _message_of(error: Exception) -> str:
    """An error in one line: settings by their flags, an error of the system without its number."""
    from tinygrad_llm.cli.flags import flag_of
    from tinygrad_llm.settings import SettingError

    words = str(error)
    if isinstance(error, SettingError):
        words = error.with_names(flag_of)
    elif isinstance(error, OSError) and error.strerror and not isinstance(error, TinygradLLMError):
        words = error.strerror if error.filename is None else f"{error.filename}: {error.strerror}"
    message = _one_line(words) or "out of memory"
    if isinstance(error, TinygradLLMError | MemoryError | OSError):
        return message
    return f"a fault of this program: {type(error).__name__}: {message}; --debug shows where"


def _joined_processes() -> Any:
    """The communicator of this process; before a command has joined others, of this process alone."""
    return import_module("tinygrad_llm.train.parallel.mpi").joined()


def _end(code: int, message: str = "") -> int:
    """Report how this process ended, and end the processes that work with it, which would wait for it for ever."""
    _discard_unread_output()
    world = _joined_processes()
    if world.rank:
        time.sleep(SECONDS_BEFORE_ABORT)
        message = f"process {world.rank}: {message.strip()}"
    if message and not (world.size == 1 and _is_secondary_process()):
        print(message, file=sys.stderr)
    world.abort(code)
    return code


def _discard_unread_output() -> None:
    """Flush standard output, or discard what cannot be written: Python would try again at exit and report it again."""
    if sys.stdout is None:
        return
    try:
        sys.stdout.flush()
    except (OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)


def _is_secondary_process() -> bool:
    """Whether another process on this machine has the same arguments, and so reports the same errors."""
    launch = find_launch()
    return launch is not None and launch.rank_on_machine > 0


def _expect_valid_text(parser: argparse.ArgumentParser, arguments: argparse.Namespace) -> None:
    """Refuse text that no shell can pass, but a caller of `main`: null bytes and half characters."""
    for name, value in vars(arguments).items():
        for text in value if isinstance(value, list) else [value]:
            if isinstance(text, str | os.PathLike):
                try:
                    whole = b"\0" not in os.fsencode(text)
                except UnicodeEncodeError:
                    whole = False
                if not whole:
                    parser.error(f"--{name.replace('_', '-')} holds a null byte or half a character: {str(text)!r}")


def _one_line(message: str) -> str:
    """`message` on one line, with control characters as escapes, and the middle of very long words left out."""
    words = " ".join(map(_shortened, message.split()))[:LONGEST_MESSAGE]
    return "".join(letter if letter.isprintable() else ascii(letter)[1:-1] for letter in words)


def _shortened(word: str) -> str:
    return word if len(word) <= LONGEST_WORD else f"{word[: LONGEST_WORD // 2]}...{word[-LONGEST_WORD // 2 :]}"
