"""The memory of several processes together: pages that they share are counted once."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Self

SECONDS_BETWEEN_SAMPLES = 0.02  # at least: reading the sizes of a large process takes longer


def proportional_size(process: int) -> int | None:
    """The memory of a process in which a page that n processes share counts as 1/n (PSS). Units: bytes.

    None where the system does not tell it: it is Linux's.
    """
    try:
        found = re.search(r"^Pss: +(\d+) kB", Path(f"/proc/{process}/smaps_rollup").read_text(), re.MULTILINE)
    except OSError:
        return None
    return 1024 * int(found[1]) if found else None


class MemoryOfAll:
    """In a `with` block, watches the sum of the processes' sizes; `highest` is its maximum. Units: bytes."""

    def __init__(self, processes: Sequence[int]) -> None:
        self.processes, self.highest = list(processes), 0

    def __enter__(self) -> Self:
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._ended.set()
        self._thread.join()
        self._sample()

    def _watch(self) -> None:
        pause = 0.0
        while not self._ended.wait(max(pause, SECONDS_BETWEEN_SAMPLES)):
            started = time.perf_counter()
            self._sample()
            pause = 5 * (time.perf_counter() - started)  # the training is not to be slowed down by it

    def _sample(self) -> None:
        sizes = [proportional_size(process) for process in self.processes]
        self.highest = max(self.highest, sum(size for size in sizes if size is not None))
