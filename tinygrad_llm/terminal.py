"""Text on a terminal: control characters are shown as escapes, so that no text can command the terminal.

A terminal obeys control characters: a model that has learned an ANSI sequence could rename the window, move the cursor
over earlier lines, or hide text. Files and pipes get every character unchanged.
"""

from __future__ import annotations

import os
import re
import sys
import unicodedata
from collections.abc import Sequence
from itertools import accumulate, pairwise
from typing import TextIO

# All control characters but newline and tab, and the marks that change the direction of the text around them.
_CONTROLS = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")

BLOCKS = "▁▂▃▄▅▆▇█"
COLOURS = {"red": 31, "green": 32, "yellow": 33, "cyan": 36, "bold": 1, "dim": 2}


def escape_controls(text: str) -> str:
    r"""`text` with each control character but newline and tab as its Python escape; a line end CR LF becomes LF.

    >>> print(escape_controls("\x1b[31mred\x07"))
    \x1b[31mred\x07
    """
    return _CONTROLS.sub(lambda found: ascii(found[0])[1:-1], text.replace("\r\n", "\n"))


def for_terminal(text: str, stream: TextIO | None = None) -> str:
    """`text` as `stream` (standard output unless given) should get it: escaped if it is a terminal, else unchanged."""
    return escape_controls(text) if is_terminal(stream) else text


def fit_line(text: str, stream: TextIO | None = None) -> str:
    """The first line of `text`, escaped and cut to the terminal's width, so that it can be overwritten in place."""
    lines = escape_controls(text).expandtabs().splitlines() or [""]
    line, room = lines[0], columns(stream) - 1
    if line.isascii():
        return line[:room]
    cells = accumulate(2 if unicodedata.east_asian_width(letter) in "WF" else 1 for letter in line)
    return "".join(letter for letter, used in zip(line, cells, strict=True) if used <= room)


def columns(stream: TextIO | None = None) -> int:
    """The width of the terminal in characters: COLUMNS if it is set, else what the terminal says, else 80."""
    if (wanted := os.environ.get("COLUMNS", "")).isdecimal() and int(wanted) > 1:
        return int(wanted)
    stream = sys.stdout if stream is None else stream
    try:
        return os.get_terminal_size(stream.fileno()).columns or 80
    except (AttributeError, OSError, ValueError):  # no terminal
        return 80


def is_terminal(stream: TextIO | None = None) -> bool:
    """Whether `stream` (standard output unless given) is a terminal; False if it is closed or missing."""
    stream = sys.stdout if stream is None else stream
    try:
        return stream is not None and stream.isatty()
    except ValueError:  # closed
        return False


def sparkline(values: Sequence[float], width: int, stream: TextIO | None = None) -> str:
    """A curve of at most `width` characters: the means of as many stretches of `values`, lowest to highest.

    "" for no values, or where `stream` cannot write block characters.

    >>> sparkline([8, 7, 6, 5, 4, 3, 2, 1], 8)
    '█▇▆▅▄▃▂▁'
    """
    if not values or not can_write(BLOCKS, stream):
        return ""
    count = min(width, len(values))
    edges = [len(values) * i // count for i in range(count + 1)]
    means = [sum(values[a:b]) / (b - a) for a, b in pairwise(edges)]
    low, span = min(means), max(means) - min(means)
    return "".join(BLOCKS[round((mean - low) / span * (len(BLOCKS) - 1)) if span else 0] for mean in means)


def bar(share: float, width: int, stream: TextIO | None = None) -> str:
    """A progress bar of `width` characters, of which `share` (0 to 1) are filled.

    >>> bar(0.5, 8)
    '████░░░░'
    """
    full, empty = ("█", "░") if can_write("█░", stream) else ("#", "-")
    filled = round(min(max(share, 0.0), 1.0) * width)
    return full * filled + empty * (width - filled)


def can_write(text: str, stream: TextIO | None = None) -> bool:
    """Whether the encoding of `stream` (standard output unless given) has these characters."""
    stream = sys.stdout if stream is None else stream
    try:
        text.encode(getattr(stream, "encoding", None) or "utf-8")
    except (UnicodeEncodeError, LookupError):
        return False
    return True


def coloured(text: str, colour: str, stream: TextIO | None = None) -> str:
    """`text` in a colour on a terminal that has colours; unchanged elsewhere, and where NO_COLOR is set."""
    plain = os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb" or not is_terminal(stream)
    return text if plain or not text else f"\x1b[{COLOURS[colour]}m{text}\x1b[0m"
