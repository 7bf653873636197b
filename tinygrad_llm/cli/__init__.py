"""The command line: `tinygrad-llm COMMAND`, the same as `python -m tinygrad_llm COMMAND`. One file per command.

Exit codes: 0 done, 1 failed, 2 misused, 130 interrupted by Ctrl-C, 143 by SIGTERM. An error is one line on stderr;
`--debug` shows where it came from.
"""

from __future__ import annotations

import argparse
import io
import os
import sys
from collections.abc import Sequence
from typing import NoReturn

import numpy as np

from tinygrad_llm.cli import classify, doctor, download, export_model, generate, import_model, train
from tinygrad_llm.errors import ConfigError, DataError, TinygradLLMError

COMMANDS = {
    "train": train,
    "generate": generate,
    "classify": classify,
    "doctor": doctor,
    "download": download,
    "import": import_model,
    "export": export_model,
}


LONGEST_MESSAGE = 2000  # characters: a million spaces that were refused need not all be shown


class Parser(argparse.ArgumentParser):
    """Says what is wrong with the arguments in one line, as for every other error."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: {_one_line(message)}; see {self.prog} --help\n")


def build_parser() -> argparse.ArgumentParser:
    parser = Parser(
        prog="tinygrad-llm",
        description="A large language model all the way down, on NumPy: train a GPT and let it write.",
        epilog="Start with `tinygrad-llm train`: it trains a small GPT on Python's own documentation in a few minutes.",
    )
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for name, module in COMMANDS.items():
        summary = (module.__doc__ or "").strip().splitlines()[0]
        command = commands.add_parser(
            name, help=summary, description=summary, formatter_class=argparse.ArgumentDefaultsHelpFormatter
        )
        command.add_argument("--debug", action="store_true", help="on an error, show the whole traceback")
        module.add_arguments(command)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code."""
    parser = build_parser()
    arguments = parser.parse_args(argv)
    _expect_names(parser, arguments)
    if isinstance(sys.stdout, io.TextIOWrapper):  # a letter that the terminal lacks must not end a run
        sys.stdout.reconfigure(errors="backslashreplace")
    try:
        with np.errstate(all="ignore"):  # numbers that go wrong end in an error of ours, not in NumPy's warnings too
            code = COMMANDS[arguments.command].run(arguments)
        sys.stdout.flush()
        return code
    except KeyboardInterrupt:
        print("\ninterrupted", file=sys.stderr)
        return 130
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # or Python complains once more at exit
        return 1
    except Exception as error:
        if arguments.debug:
            raise
        message = _one_line(str(error)) or "out of memory"
        if not isinstance(error, TinygradLLMError | MemoryError | OSError):
            message = f"a fault of this program: {type(error).__name__}: {message}; --debug shows where"
        print(f"tinygrad-llm {arguments.command}: {message}", file=sys.stderr)
        return 2 if isinstance(error, ConfigError | DataError) else 1


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


def _one_line(message: str) -> str:
    """`message` without line ends, and without what a terminal would obey rather than show."""
    words = " ".join(message[:LONGEST_MESSAGE].split())
    return "".join(letter if letter.isprintable() else ascii(letter)[1:-1] for letter in words)
