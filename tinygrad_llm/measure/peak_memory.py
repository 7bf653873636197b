"""The most memory that this process has held, as the system saw it."""

from __future__ import annotations

import contextlib
import sys
from pathlib import Path

STATUS, RESET = Path("/proc/self/status"), Path("/proc/self/clear_refs")


class HighWaterMark:
    """How far memory has risen since this was made, at most. Units: bytes.

    Linux tells the mark of one program's life and lets it be set back to what is held now. Elsewhere it only rises, so
    make this before anything large; where no mark is kept (Windows), `risen` is None.
    """

    def __init__(self) -> None:
        with contextlib.suppress(OSError):  # not Linux, or not allowed: the mark stays where it is
            RESET.write_text("5")
        self._before = self.highest

    @property
    def highest(self) -> int | None:
        """What the process has held at most since this was made, all that it held before included."""
        return _mark()

    @property
    def risen(self) -> int | None:
        now = self.highest
        return None if now is None or self._before is None else now - self._before


def _mark() -> int | None:
    """The highest resident size so far: from Linux's own file, as `getrusage` also counts who started this program."""
    try:
        line = next(line for line in STATUS.read_text().splitlines() if line.startswith("VmHWM:"))
        return 1024 * int(line.split()[1])
    except (OSError, StopIteration):
        pass
    if sys.platform == "win32":
        return None
    import resource  # not on Windows

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else 1024 * peak
