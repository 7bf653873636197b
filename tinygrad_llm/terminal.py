"""Text on a terminal: control characters are shown as escapes, so that no text can command the terminal.

A terminal obeys control characters: a model that has learned an ANSI sequence could rename the window, move the cursor
over earlier lines, or hide text. Files and pipes get every character unchanged.
"""

from __future__ import annotations

import os
import re
import sys
from typing import TextIO

# All control characters but newline and tab, and the marks that change the direction of the text around them.
_CONTROLS = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")


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
    return lines[0][: columns(stream) - 1]


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
