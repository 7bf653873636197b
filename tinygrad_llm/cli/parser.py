"""The parser of the command line: its pages of help, and misuse in one line that names the page to read."""

from __future__ import annotations

import argparse
import io
import os
import sys
from collections.abc import Sequence
from typing import Any, NoReturn

from tinygrad_llm.cli.messages import one_line
from tinygrad_llm.cli.suggestions import did_you_mean
from tinygrad_llm.terminal import columns
from tinygrad_llm.train.parallel.launch import find_launch

MOST_FLAGS_IN_USAGE = 8
WIDEST_PAGE = 120  # columns: longer lines are hard to read
NUMBERS: dict[Any, str] = {int: "an integer", float: "a number"}  # types of values, as an error calls them


class HelpFormatter(argparse.ArgumentDefaultsHelpFormatter):
    """Shows the default of each flag that has one; None, False and an empty text are not shown."""

    def __init__(self, prog: str, **more: Any) -> None:
        super().__init__(prog, width=min(columns(), WIDEST_PAGE) - 2, **more)

    def add_usage(self, usage: Any, actions: Any, groups: Any, prefix: Any = None) -> None:
        """The usage in one line: flags that may be left out are not listed where there are many."""
        optional = [action for action in actions if action.option_strings and not action.required]
        if usage is None and len(optional) > MOST_FLAGS_IN_USAGE:
            flags = [action for action in actions if action.option_strings and action.required]
            words = [f"{flag.option_strings[-1]} {self._format_args(flag, flag.dest.upper())}" for flag in flags]
            words += [self._format_args(one, one.dest) for one in actions if not one.option_strings]
            usage = " ".join(["%(prog)s", "[FLAG ...]", *words])
        super().add_usage(usage, actions, groups, prefix)

    def add_argument(self, action: argparse.Action) -> None:
        """As argparse's, but subcommands count with their indentation, so that the longest has its help beside it."""
        super().add_argument(action)
        if isinstance(action, argparse._SubParsersAction) and action.help is not argparse.SUPPRESS:
            longest = max((len(name) for name in action.choices), default=0)
            self._action_max_length = max(self._action_max_length, longest + 4)

    def _get_help_string(self, action: argparse.Action) -> str | None:
        silent = action.default is None or action.default is False or action.default in ("", [])
        return action.help if silent else super()._get_help_string(action)


class Parser(argparse.ArgumentParser):
    """Reports misuse in one line, as all other errors are reported, with what may have been meant.

    The methods of argparse that read the values of a flag are private to it: without them, only the words would differ.
    """

    def exit(self, status: int = 0, message: str | None = None) -> NoReturn:
        discard_unread_output()  # a page of --help
        super().exit(status, message)

    def error(self, message: str) -> NoReturn:
        words = one_line(message)
        end = "" if words.endswith("?") else ";"
        self.exit(2, "" if is_secondary_process() else f"{self.prog}: {words}{end} see {self.prog} --help\n")

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> tuple[Any, list[str]]:
        """As argparse's, but words that this page does not know are refused here, by the parser of their own page."""
        namespace, unknown = super().parse_known_args(args, namespace)
        if unknown:
            self.error(self._refusal(unknown))
        return namespace, unknown

    def _refusal(self, unknown: Sequence[str]) -> str:
        word = next((word for word in unknown if word.startswith("-")), unknown[0])
        flag = word.partition("=")[0]
        if not flag.startswith("-"):
            words = f"too many words; got {' '.join(unknown)!r}"
            if "--model" in self.visible_flags() and os.path.exists(unknown[0]):
                return f"{words}; did you mean --model {unknown[0]}?"
            return f"{words}: quote a text that has spaces"
        return f"there is no flag {flag}{did_you_mean(flag, self.visible_flags())}"

    def _check_value(self, action: argparse.Action, value: Any) -> None:
        if action.choices is None or value in action.choices:
            return
        names = list(map(str, action.choices))
        if isinstance(action, argparse._SubParsersAction):
            hint = did_you_mean(str(value), names) or f": known are {', '.join(names)}"
            raise argparse.ArgumentError(None, f"there is no command {str(value)!r}{hint}")
        raise _misuse(action, f"must be one of {', '.join(names)}; got {value!r}")

    def _get_value(self, action: argparse.Action, text: str) -> Any:
        try:
            return super()._get_value(action, text)
        except argparse.ArgumentError as error:
            words = error.message
            if action.type in NUMBERS:
                words = f"must be {NUMBERS[action.type]}; got {text!r}"
            raise _misuse(action, words) from None

    def _match_argument(self, action: argparse.Action, pattern: str) -> int:
        try:
            count: int = super()._match_argument(action, pattern)
        except argparse.ArgumentError as error:
            if not action.option_strings:
                raise
            flag = action.option_strings[-1]
            raise _misuse(action, f"must have a value; one that begins with - is written {flag}=VALUE") from error
        return count

    def visible_flags(self) -> list[str]:
        """The flags that the page of help shows."""
        shown = (action for action in self._actions if action.help is not argparse.SUPPRESS)
        return [flag for action in shown for flag in action.option_strings]

    def add_subparsers(self, **options: Any) -> Any:
        """As argparse's; the name of a subcommand's page never wraps."""
        return super().add_subparsers(**{"prog": self.prog, **options})

    def actions(self) -> list[argparse.Action]:
        """What the page takes: flags, positional words, subcommands."""
        return list(self._actions)

    def subcommands(self) -> dict[str, Parser]:
        """The parsers of the commands below this one, by name."""
        for action in self._actions:
            if isinstance(action, argparse._SubParsersAction):
                return dict(action.choices)
        return {}

    def page_of(self, words: Sequence[str]) -> Parser:
        """The parser whose page explains the command that `words` begin with."""
        page = self
        for word in words:
            if word not in page.subcommands():
                break
            page = page.subcommands()[word]
        return page


def _misuse(action: argparse.Action, words: str) -> argparse.ArgumentError:
    """The error for a flag or a word of the page: its name, and `words` about it."""
    name = action.option_strings[-1] if action.option_strings else action.metavar or action.dest
    return argparse.ArgumentError(None, f"{name} {words}")


def discard_unread_output() -> None:
    """Flush standard output, or discard what cannot be written: Python would try again at exit and report it again."""
    if sys.stdout is None:
        return
    try:
        sys.stdout.flush()
    except (OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)


def accept_all_characters() -> None:
    """A character that the terminal lacks is written as an escape: it must not end a run."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")


def is_secondary_process() -> bool:
    """Whether another process on this machine has the same arguments, and so reports the same errors."""
    launch = find_launch()
    return launch is not None and launch.rank_on_machine > 0
