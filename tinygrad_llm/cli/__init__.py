"""The command line: `tinygrad-llm COMMAND`, the same as `python -m tinygrad_llm COMMAND`. One file per command.

Exit codes: 0 done, 1 failed, 2 misused, 130 interrupted by Ctrl-C. An error is one line on stderr; `--debug` shows
where it came from.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence

from tinygrad_llm.cli import download, export_model, generate, import_model, train
from tinygrad_llm.errors import ConfigError, DataError, TinygradLLMError

COMMANDS = {
    "train": train,
    "generate": generate,
    "download": download,
    "import": import_model,
    "export": export_model,
}


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
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
    arguments = build_parser().parse_args(argv)
    try:
        code = COMMANDS[arguments.command].run(arguments)
        sys.stdout.flush()
        return code
    except KeyboardInterrupt:
        print("\ninterrupted", file=sys.stderr)
        return 130
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # or Python complains once more at exit
        return 1
    except (TinygradLLMError, MemoryError, OSError) as error:
        if arguments.debug:
            raise
        message = " ".join(str(error).split()) or "out of memory"
        print(f"tinygrad-llm {arguments.command}: {message}", file=sys.stderr)
        return 2 if isinstance(error, ConfigError | DataError) else 1
