"""The command line: `tinygrad-llm COMMAND`, the same as `python -m tinygrad_llm COMMAND`. One file per command.

Exit codes: 0 done, 1 failed, 2 misused, 130 interrupted by Ctrl-C, 143 by SIGTERM. An error is one line on stderr;
`--debug` shows where it came from.
"""

from __future__ import annotations

import argparse
import io
import os
import sys
import time
import traceback
from collections.abc import Sequence
from typing import NoReturn

import numpy as np

from tinygrad_llm.cli import (
    bench,
    bert,
    chat,
    classify,
    doctor,
    download,
    evaluate,
    export_model,
    faults,
    generate,
    gradcheck,
    import_model,
    inspect,
    instruct,
    prefer,
    train,
    translate,
)
from tinygrad_llm.cli.flags import HelpFormatter, flag_of
from tinygrad_llm.errors import ConfigError, DataError, TinygradLLMError
from tinygrad_llm.settings import SettingError
from tinygrad_llm.train.parallel.launch import find_launch
from tinygrad_llm.train.parallel.mpi import joined

COMMANDS = {
    "train": train,
    "generate": generate,
    "classify": classify,
    "instruct": instruct,
    "prefer": prefer,
    "chat": chat,
    "evaluate": evaluate,
    "translate": translate,
    "bert": bert,
    "doctor": doctor,
    "inspect": inspect,
    "gradcheck": gradcheck,
    "faults": faults,
    "bench": bench,
    "download": download,
    "import": import_model,
    "export": export_model,
}


SHARED_COMMANDS = ("train",)  # which several processes that mpiexec starts do together
THE_FIRST_SPEAKS = 1.0  # seconds that the others wait: an error that all have met is then said, and they are ended
LONGEST_MESSAGE = 2000  # characters: a million spaces that were refused need not all be shown
LONGEST_WORD = 240  # characters of a path or a value in a message; the middle of a longer one is left out


class Parser(argparse.ArgumentParser):
    """Says what is wrong with the arguments in one line, as for every other error."""

    def exit(self, status: int = 0, message: str | None = None) -> NoReturn:
        _take_back_what_nobody_reads()  # a page of --help
        super().exit(status, message)

    def error(self, message: str) -> NoReturn:
        self.exit(2, "" if _said_by_another() else f"{self.prog}: {_one_line(message)}; see {self.prog} --help\n")


def build_parser() -> argparse.ArgumentParser:
    parser = Parser(
        prog="tinygrad-llm",
        description="A large language model all the way down, on NumPy: train a GPT and let it write.",
        epilog="Start with `tinygrad-llm train`: it trains a small GPT on Python's own documentation in a few minutes.",
    )
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for name, module in COMMANDS.items():
        summary = (module.__doc__ or "").strip().splitlines()[0]
        command = commands.add_parser(name, help=summary, description=summary, formatter_class=HelpFormatter)
        command.add_argument("--debug", action="store_true", help="on an error, show the whole traceback")
        module.add_arguments(command)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code."""
    parser = build_parser()
    arguments = parser.parse_args(argv)
    _expect_names(parser, arguments)
    if (launch := find_launch()) and launch.size > 1 and arguments.command not in SHARED_COMMANDS:
        parser.error(f"{arguments.command} is work for one process; start it without mpiexec, which is for `train`")
    if isinstance(sys.stdout, io.TextIOWrapper):  # a letter that the terminal lacks must not end a run
        sys.stdout.reconfigure(errors="backslashreplace")
    try:
        with np.errstate(all="ignore"):  # numbers that go wrong end in an error of ours, not in NumPy's warnings too
            code = COMMANDS[arguments.command].run(arguments)
        sys.stdout.flush()
        return code
    except KeyboardInterrupt:
        return _end(130, "\ninterrupted")
    except BrokenPipeError:
        return _end(1)
    except Exception as error:
        if arguments.debug:
            if joined().size == 1:
                raise
            traceback.print_exc()
        message = _one_line(_words_of(error)) or "out of memory"
        if not isinstance(error, TinygradLLMError | MemoryError | OSError):
            message = f"a fault of this program: {type(error).__name__}: {message}; --debug shows where"
        code = 2 if isinstance(error, ConfigError | DataError) else 1
        return _end(code, f"tinygrad-llm {arguments.command}: {message}")


def _end(code: int, message: str = "") -> int:
    """Say how this process ended, and end those that work with it, for they would wait for it for ever."""
    _take_back_what_nobody_reads()
    world = joined()
    if world.rank:
        time.sleep(THE_FIRST_SPEAKS)
        message = f"process {world.rank}: {message.strip()}"
    if message and not (world.size == 1 and _said_by_another()):
        print(message, file=sys.stderr)
    world.abort(code)
    return code


def _take_back_what_nobody_reads() -> None:
    """Empty standard output where it fails: Python would offer the same again at exit, and complain once more."""
    try:
        sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _said_by_another() -> bool:
    """Whether another process on this machine was started with the same arguments, and so has the same to say."""
    launch = find_launch()
    return launch is not None and launch.rank_on_machine > 0


def _expect_names(parser: argparse.ArgumentParser, arguments: argparse.Namespace) -> None:
    """Refuse what no shell can give, but a caller of `main`: text that the system's calls do not take."""
    for name, value in vars(arguments).items():
        for text in value if isinstance(value, list) else [value]:
            if isinstance(text, str | os.PathLike):
                try:
                    whole = b"\0" not in os.fsencode(text)
                except UnicodeEncodeError:
                    whole = False
                if not whole:
                    parser.error(f"--{name.replace('_', '-')} holds a null byte or half a character: {str(text)!r}")


def _words_of(error: Exception) -> str:
    """The message of an error: settings by their flags, a system's error without its number."""
    if isinstance(error, SettingError):
        return error.with_names(flag_of)
    if isinstance(error, OSError) and error.strerror and not isinstance(error, TinygradLLMError):
        return error.strerror if error.filename is None else f"{error.filename}: {error.strerror}"
    return str(error)


def _one_line(message: str) -> str:
    """`message` on one line, with control characters as escapes, and the middle of very long words left out."""
    words = " ".join(map(_shortened, message.split()))[:LONGEST_MESSAGE]
    return "".join(letter if letter.isprintable() else ascii(letter)[1:-1] for letter in words)


def _shortened(word: str) -> str:
    return word if len(word) <= LONGEST_WORD else f"{word[: LONGEST_WORD // 2]}...{word[-LONGEST_WORD // 2 :]}"
