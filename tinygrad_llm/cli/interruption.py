"""A command that works until it is interrupted, and then ends in order."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Iterator
from typing import Any

from tinygrad_llm.train.trainer import INTERRUPTIONS


@contextlib.contextmanager
def interruption() -> Iterator[threading.Event]:
    """An event that the first Ctrl-C, SIGTERM or SIGHUP sets; a second one acts at once."""
    interrupted, before = threading.Event(), dict[int, Any]()

    def note(signum: int, frame: Any) -> None:
        interrupted.set()
        signal.signal(signum, before[signum])

    try:
        for sign in INTERRUPTIONS:
            if signal.getsignal(sign) is not signal.SIG_IGN:
                before[sign] = signal.signal(sign, note)
        yield interrupted
    finally:
        for signum, handler in before.items():
            signal.signal(signum, handler)
