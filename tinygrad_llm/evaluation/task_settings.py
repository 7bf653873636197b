"""The settings of a task, which its file or the command line may give."""

from __future__ import annotations

import re
import warnings
from dataclasses import dataclass

from tinygrad_llm.settings import Settings, setting

STRIP, NONE, FIRST_NUMBER, LAST_NUMBER, REGEX = FILTERS = ("strip", "none", "first-number", "last-number", "regex")


@dataclass(frozen=True)
class TaskSettings(Settings):
    """How questions are asked, and how answers are compared."""

    shots: int = setting(0, "answered questions shown first; they are not scored", least=0)
    max_new_tokens: int | None = setting(
        None, "maximum tokens of a generated answer (default: 256, at most half of the context)", least=1
    )
    stop: tuple[str, ...] = setting(
        (), "a generated answer ends before this text; repeatable (default: a blank line, in the plain style)"
    )
    filter: str = setting(
        STRIP,
        "part of a generated answer that is compared: strip, all but white space at its ends; none, all of it; "
        "first-number or last-number, where 1,000 equals 1000; regex, the first match of --regex",
        choices=FILTERS,
        metavar="NAME",
    )
    regex: str = setting(
        "", "pattern of the part that is compared, its first group if it has groups", metavar="PATTERN"
    )
    ignore: tuple[str, ...] = setting((), "pattern removed before the comparison; repeatable", metavar="PATTERN")
    ignore_case: bool = setting(False, "compare in lower case")
    ignore_punctuation: bool = setting(False, "compare without ASCII punctuation")
    ignore_numbers: bool = setting(False, "compare without digits")
    votes: int = setting(
        1, "sample N answers per question and take the most frequent (self-consistency)", least=1, most=10_000
    )
    temperature: float = setting(0.7, "temperature at which --votes answers are sampled", above=0)

    def __post_init__(self) -> None:
        super().__post_init__()
        if "" in self.stop:
            raise self.refusal("{stop} must be texts, none of them empty")
        for name, patterns in (("regex", (self.regex,)), ("ignore", self.ignore)):
            for pattern in patterns:
                try:
                    with warnings.catch_warnings(action="ignore"):  # of syntax that may change its meaning one day
                        re.compile(pattern)
                except (re.error, OverflowError, RecursionError) as error:
                    got = f"{pattern[:100]!r}: {str(error)[:100]}"
                    raise self.refusal(f"{{{name}}} must be a regular expression", got) from None
        if bool(self.regex) != (self.filter == REGEX):
            raise self.refusal("{filter} regex and {regex} belong together", f"{self.filter} and {self.regex!r}")
