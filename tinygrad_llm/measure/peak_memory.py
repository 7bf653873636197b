"""The peak memory of this process, as the operating system reports it."""

from __future__ import annotations

import contextlib
import sys
from pathlib import Path

STATUS, RESET = Path("/proc/self/status"), Path("/proc/self/clear_refs")


class HighWaterMark:
    """The peak of resident memory since this object was made. Units: bytes.

    Linux lets a process reset its peak to the present size. Elsewhere the peak is that of the whole process, so make
    this object before anything large. Where the system reports no peak (Windows), `risen` and `highest` are None.
    """

    def __init__(self) -> None:
        with contextlib.suppress(OSError):  # not Linux, or not allowed: the peak is not reset
            RESET.write_text("5")
        self._at_start = self.highest

    @property
    def highest(self) -> int | None:
        """The peak since this object was made, with the memory held before."""
        return _peak()

    @property
    def risen(self) -> int | None:
        """The peak above what was held when this object was made."""
        now = self.highest
        return None if now is None or self._at_start is None else now - self._at_start


def _peak() -> int | None:
    """The peak resident size: on Linux from /proc, because getrusage includes the parent process."""
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
