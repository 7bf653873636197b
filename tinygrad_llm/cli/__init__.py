"""The command line: `tinygrad-llm COMMAND`, the same as `python -m tinygrad_llm COMMAND`. One file per command.

A command's file, and NumPy, are imported when the command is called: this file imports neither.

Exit codes: 0 done, 1 failed, 2 misused, 130 interrupted by Ctrl-C, 143 by SIGTERM, 129 by SIGHUP. An error is one line
on stderr; `--debug` shows where it came from.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Callable, Container, Sequence
from contextlib import AbstractContextManager, nullcontext
from importlib import import_module
from types import ModuleType
from typing import Any

from tinygrad_llm import __version__
from tinygrad_llm.cli.messages import message_of
from tinygrad_llm.cli.parser import (
    HelpFormatter,
    Parser,
    accept_all_characters,
    discard_unread_output,
    is_secondary_process,
)
from tinygrad_llm.cli.threads import limit_blas_threads
from tinygrad_llm.errors import ConfigError, DataError
from tinygrad_llm.runs.hints import program
from tinygrad_llm.runs.status_line import StatusLine
from tinygrad_llm.train.parallel.launch import find_launch

# Name, file in this folder, and what the command does in one line.
COMMANDS = {
    "train": ("train", "Train a language model on a text, from nothing to a sample of generated text."),
    "search": ("search", "Search for good settings of a training, by successive halving over runs."),
    "generate": ("generate", "Generate text from a trained model."),
    "classify": ("classify", "Train a text classifier on a pretrained model, and use it."),
    "instruct": ("instruct", "Fine-tune a language model to follow instructions; answer and evaluate."),
    "prefer": ("prefer", "Fine-tune a language model on preferences between answers (DPO)."),
    "reward": ("reward", "Train a reward model on preferences between answers; score answers with it."),
    "reinforce": ("reinforce", "Train a language model on rewards of its own answers (PPO, GRPO)."),
    "chat": ("chat", "Chat with a trained model in the terminal."),
    "serve": ("serve", "Serve a model: a page to chat in, and OpenAI's endpoints, on this machine."),
    "evaluate": ("evaluate", "Evaluate a model on tasks: multiple choice, generated answers, perplexity."),
    "translate": ("translate", "Train an encoder-decoder on pairs of texts, and translate."),
    "bert": ("bert", "Train a BERT on masked tokens; fill masks in a text."),
    "doctor": ("doctor", "Check a model for what keeps it from learning, and name the usual cause."),
    "speedrun": ("speedrun", "Go the whole road from a text to an assistant in N minutes; write a report card."),
    "lab": ("lab", "Watch a GPT learn, go back in time and look inside it, in the browser."),
    "inspect": ("inspect", "Write a page of a model's numbers on a text: attention, gradients, predictions, costs."),
    "gradcheck": ("gradcheck", "Verify every gradient against finite differences and definitions."),
    "faults": ("faults", "Switch on a classic mistake; see which check finds it and how it changes a training."),
    "bench": ("bench", "Measure speed and memory of a training step, and how its cost grows."),
    "cost": ("cost", "Compute what training a GPT takes: operations, days, price, energy; GPT-3's sizes."),
    "download": ("download", "Download a model from the Hugging Face hub."),
    "import": ("import_model", "Make a run folder from a model in a Hugging Face folder."),
    "export": ("export_model", "Write a run's model as a Hugging Face folder, which transformers opens."),
    "duplicates": ("duplicates", "Find near-duplicates in instructions, preferences or lines; write a file without."),
    "list": ("list_runs", "List the runs in a folder: model, size, steps, validation loss, date."),
    "show": ("show", "Show a run: layers, memory, settings, loss curve; or the configuration that repeats it."),
    "tokenize": ("tokenize_text", "Show how tokenizers cut a text: ids, bytes, merges; several side by side."),
    "plot": ("plot", "Plot the loss curves of several runs in the terminal, or as an SVG file."),
    "help": ("help", "Show the page of a command."),
    "completion": ("completion", "Print a script for bash, zsh or fish that completes commands and flags."),
}
SHARED_COMMANDS = ("train",)  # which several processes that mpiexec starts run together
SECONDS_BEFORE_ABORT = 5.0  # in which the first process reports an error that all have met, and ends the others


def command_module(name: str) -> ModuleType:
    """The file of a command, imported now. It has `add_arguments(parser)` and `run(arguments)`."""
    return import_module(f"{__name__}.{COMMANDS[name][0]}")


def build_parser(described: Container[str] | None = COMMANDS) -> Parser:
    """The parser of the program; only the commands `described` are imported and have their arguments."""
    parser = Parser(
        prog=program(),
        description="A large language model all the way down, on NumPy: train a GPT and generate text.",
        epilog=f"Start with `{program()} train`: it trains a small GPT on Python's own documentation in three minutes.",
        formatter_class=HelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"tinygrad-llm {__version__}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND")
    for name, (_, summary) in COMMANDS.items():
        command = commands.add_parser(name, help=summary, description=summary, formatter_class=HelpFormatter)
        command.add_argument("--debug", action="store_true", help="on an error, show the whole traceback")
        if described is not None and name in described:
            command_module(name).add_arguments(command)
    return parser


def main(argv: Sequence[str] | None = None, loaded: Callable[[], object] = lambda: None) -> int:
    """Run one command and return its exit code. `loaded` is called when the command is imported and about to run."""
    words = sys.argv[1:] if argv is None else [str(word) for word in argv]
    in_threads = limit_blas_threads(words)
    parser = build_parser([word for word in words if not word.startswith("-")][:1])
    for word in words:
        if word.startswith("--") and word.endswith("=--"):  # argparse makes an empty list of this value
            parser.error(f"{word[:-3]} must have a value; got --")
    arguments = parser.parse_args(words)
    accept_all_characters()
    if arguments.command is None:
        parser.print_help()
        discard_unread_output()
        return 0
    page = parser.page_of(words)
    _expect_valid_text(page, arguments)
    if (launch := find_launch()) and launch.size > 1 and arguments.command not in SHARED_COMMANDS:
        page.error(f"{arguments.command} is work for one process; start it without mpiexec, which is for `train`")
    if sys.stdout is None:  # `>&-`: what is opened next would be written to in its place
        print(f"{page.prog}: standard output is closed; send it to a file, a pipe or /dev/null", file=sys.stderr)
        return 1
    import numpy as np

    sharing: AbstractContextManager[None] = nullcontext()
    if in_threads:
        from tinygrad_llm.train.parallel.product_threads import products_in_threads

        sharing = products_in_threads()
    loaded()
    try:
        # NaN and infinity end in errors of this package, without NumPy's warnings
        with np.errstate(all="ignore"), StatusLine(sys.stderr).saying_warnings(), sharing:
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
        hint = f"; see {page.prog} --help" if isinstance(error, ConfigError) else ""
        code = 2 if isinstance(error, ConfigError | DataError) else 1
        return _end(code, f"{page.prog}: {message_of(error)}{hint}")


def _joined_processes() -> Any:
    """The communicator of this process; before a command has joined others, of this process alone."""
    return import_module("tinygrad_llm.train.parallel.mpi").joined()


def _end(code: int, message: str = "") -> int:
    """Report how this process ended, and end the processes that work with it, which would wait for it for ever."""
    discard_unread_output()
    world = _joined_processes()
    if world.rank:
        time.sleep(SECONDS_BEFORE_ABORT)
        message = f"process {world.rank}: {message.strip()}"
    if message and not (world.size == 1 and is_secondary_process()):
        print(message, file=sys.stderr)
    world.abort(code)
    return code


def _expect_valid_text(parser: Parser, arguments: argparse.Namespace) -> None:
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
