"""Numbers as text for tables: shapes, times, bytes; and the width of the terminal that they are printed on."""

from __future__ import annotations

import shutil
import textwrap
from collections.abc import Sequence

PIPE_WIDTH = 160  # columns of output to a file or pipe, unless the variable COLUMNS is set


def terminal_width() -> int:
    """Columns of the terminal, at least 40; the environment variable COLUMNS overrides what the terminal reports."""
    return max(40, shutil.get_terminal_size((PIPE_WIDTH, 24)).columns)


def text_width() -> int:
    """Columns for sentences: those of the terminal, at most 100."""
    return min(terminal_width(), 100)


def format_count(count: int, noun: str) -> str:
    """`1 case` or `1,000 cases`."""
    return f"{count:,} {noun}" + ("" if count == 1 else "s")


def format_shape(shape: Sequence[int]) -> str:
    return "×".join(map(str, shape)) or "scalar"


def format_time(seconds: float) -> str:
    return f"{seconds * 1e3:.1f} ms" if seconds >= 1e-3 else f"{seconds * 1e6:.0f} µs"


def format_bytes(count: int) -> str:
    size, unit = float(count), "B"
    for larger in ("KB", "MB", "GB"):
        if size < 1000:
            break
        size, unit = size / 1000, larger
    return f"{size:.0f} {unit}" if unit == "B" or size >= 100 else f"{size:.1f} {unit}"


def wrap(line: str, width: int, indent: str = "    ") -> list[str]:
    """`line` in pieces of at most `width` columns; pieces after the first are indented by `indent` more.

    Line breaks are at spaces only: a word that is longer than the width stays whole.
    """
    margin = line[: len(line) - len(line.lstrip())]
    pieces = textwrap.wrap(
        line.strip(),
        width,
        initial_indent=margin,
        subsequent_indent=margin + indent,
        break_long_words=False,
        break_on_hyphens=False,
    )
    return pieces or [line]
