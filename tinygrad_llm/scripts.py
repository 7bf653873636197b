"""How a script ends when its reader goes away or interrupts it: as other Unix programs do, without a traceback."""

from __future__ import annotations

import atexit
import os
import signal
import sys
from types import TracebackType


def end_quietly() -> None:
    """End this script without a traceback on Ctrl-C, on SIGTERM, and when nobody reads its output any more.

    `python demos/tape.py | head` closes the pipe after ten lines, and the next `print` raises BrokenPipeError. The
    process then ends by the signal that other programs would have ended by (SIGPIPE, SIGINT or SIGTERM), so that a
    shell sees the usual exit code (141, 130 or 143). Call it once, at the top of a script. In a notebook, where
    exceptions belong to the cells, it changes nothing.
    """
    sys.excepthook = _excepthook
    atexit.register(_flush)


def _excepthook(kind: type[BaseException], error: BaseException, traceback: TracebackType | None) -> None:
    if isinstance(error, BrokenPipeError):
        _end_by_signal("SIGPIPE")
    if isinstance(error, KeyboardInterrupt):  # the Trainer names the signal after its last step is done
        _flush()
        _end_by_signal(signal.Signals(error.args[0] if error.args else signal.SIGINT).name)
    sys.__excepthook__(kind, error, traceback)


def _flush() -> None:
    """Write the end of the output now: Python would report a closed pipe at exit as an ignored exception."""
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        _end_by_signal("SIGPIPE")


def _end_by_signal(name: str) -> None:
    number = getattr(signal, name, None)  # Windows has no SIGPIPE
    if number is None:
        os._exit(1)
    signal.signal(number, signal.SIG_DFL)
    os.kill(os.getpid(), number)
