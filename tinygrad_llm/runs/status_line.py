"""The status line: on a terminal, one line that replaces itself; elsewhere, at most one line every 15 seconds."""

from __future__ import annotations

import re
import sys
import textwrap
import threading
import time
import warnings
from collections.abc import Callable, Iterable, Iterator, Sized
from contextlib import contextmanager
from typing import TextIO, TypeVar

from tinygrad_llm.terminal import bar, coloured, columns, fit_line, for_terminal, is_terminal

T = TypeVar("T")

SECONDS_BETWEEN_RENEWALS = 0.2
SECONDS_BETWEEN_LINES = 15.0  # if the output is no terminal, at most one status in this time
SECONDS_OF_SILENCE = 2.0  # after which `working` shows a status
BAR_WIDTH = 10  # characters
_BAR = re.compile("[█░]{3,}")


def duration(seconds: float) -> str:
    """`1h 02m`, `3m 07s` or `12s`."""
    whole = max(0, round(seconds))
    if whole >= 3600:
        return f"{whole // 3600}h {whole % 3600 // 60:02d}m"
    return f"{whole // 60}m {whole % 60:02d}s" if whole >= 60 else f"{whole}s"


class StatusLine:
    """Text that replaces itself on a terminal; elsewhere `say` prints a line, and a status is a line every 15 seconds.

    No line is wider than the terminal: a status is cut, a sentence is wrapped, and only a command that is to be pasted
    (`hint`) stays one line.
    """

    def __init__(self, stream: TextIO | None = None) -> None:
        self.stream = sys.stdout if stream is None else stream
        self.on_terminal = is_terminal(self.stream)
        self._shown = time.monotonic()
        self._width = 0
        self._lock = threading.RLock()  # `working` renews the line from a thread of its own

    def renew(self, text: Callable[[], str], immediately: bool = False) -> None:
        """Show `text()` as the current status, unless the last one is too recent, or `immediately` on a terminal."""
        wait = SECONDS_BETWEEN_RENEWALS * (not immediately) if self.on_terminal else SECONDS_BETWEEN_LINES
        if time.monotonic() - self._shown < wait:
            return
        if not self.on_terminal:
            self.say(text())
            return
        line = fit_line(text(), self.stream)
        shown = _BAR.sub(lambda found: coloured(found[0], "green", self.stream), line)
        with self._lock:
            self.stream.write("\r" + shown + " " * (self._width - len(line)))
            self.stream.flush()
            self._width, self._shown = len(line), time.monotonic()

    def say(self, text: str, colour: str = "") -> None:
        """A text that stays, in place of the status; on a terminal wrapped to its width."""
        if self.on_terminal:
            text = "\n".join(_wrapped(line, columns(self.stream) - 1) for line in text.split("\n"))
        self._write(text, colour)

    @contextmanager
    def saying_warnings(self) -> Iterator[None]:
        """Inside, a warning for users, such as that no worker can be started, is said as one line."""
        with warnings.catch_warnings():
            warnings.simplefilter("always", UserWarning)  # not Python's for developers, as of a fork beside threads
            warnings.showwarning = lambda message, *where, **more: self.say(f"warning: {message}")
            yield

    def hint(self, words: str, command: str) -> None:
        """A command to paste, after what it does: one line, however long."""
        self._write(f"{words}: {command}", "", command)

    def _write(self, text: str, colour: str, highlighted: str = "") -> None:
        text = for_terminal(text, self.stream)
        with self._lock:
            padded = text
            if self._width:
                first, newline, rest = text.partition("\n")
                padded = "\r" + first.ljust(self._width) + newline + rest
            if colour:
                padded = coloured(padded, colour, self.stream)
            elif highlighted and padded.rstrip().endswith(highlighted):
                padded = padded.replace(highlighted, coloured(highlighted, "cyan", self.stream))
            self.stream.write(padded + "\n")
            self.stream.flush()
            self._width, self._shown = 0, time.monotonic()

    def clear(self) -> None:
        """Remove the current status."""
        with self._lock:
            if self._width:
                self.stream.write("\r" + " " * self._width + "\r")
                self.stream.flush()
                self._width = 0

    def track(self, items: Iterable[T], words: str, total: int | None = None) -> Iterator[T]:
        """The same items; the status tells how many of them are done."""
        count = total if total is not None else len(items) if isinstance(items, Sized) else 0
        for done, item in enumerate(items):
            self.renew(lambda done=done: self.share(words, done, count))  # type: ignore[misc]
            yield item
        self.clear()

    def share(self, words: str, done: int, total: int) -> str:
        """`words ██████░░ 12/20`."""
        if total <= 0:
            return f"{words} {done}"
        return f"{words} {bar(done / total, BAR_WIDTH, self.stream)} {done}/{total}"

    @contextmanager
    def working(self, words: str) -> Iterator[None]:
        """Inside, on a terminal, the status tells what is going on and for how long, from two seconds on."""
        if not self.on_terminal:
            yield
            return
        started, over = time.monotonic(), threading.Event()

        def show() -> None:
            while not over.wait(SECONDS_OF_SILENCE if time.monotonic() - started < SECONDS_OF_SILENCE else 0.5):
                if time.monotonic() - self._shown >= SECONDS_OF_SILENCE or self._width:
                    self.renew(lambda: f"{words} ... {duration(time.monotonic() - started)}")

        thread = threading.Thread(target=show, daemon=True)
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join()
            self.clear()


def _wrapped(line: str, width: int) -> str:
    """`line` in lines of at most `width` characters, cut at spaces; later lines are indented by two more."""
    if len(line) <= width:
        return line
    margin = line[: len(line) - len(line.lstrip())][: width // 2]
    return textwrap.fill(
        line.strip(),
        width,
        initial_indent=margin,
        subsequent_indent=margin + "  ",
        break_on_hyphens=False,
    )
