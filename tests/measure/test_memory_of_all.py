"""The memory of several processes: a page that they share counts once."""

from __future__ import annotations

import os
import signal
import sys
import time

import numpy as np
import pytest

from tinygrad_llm.measure.memory_of_all import MemoryOfAll, proportional_size
from tinygrad_llm.train.parallel.shared_memory import SharedMemory

MEGABYTES = 64
pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="sizes are read from /proc")


def test_shared_pages_count_once_and_peaks_are_seen() -> None:
    shared = SharedMemory(MEGABYTES << 20)
    array = shared.array(0, (MEGABYTES << 20,), np.uint8)
    before = proportional_size(os.getpid())
    assert before is not None
    child = os.fork()
    if not child:
        array[:] = 1  # in both processes
        time.sleep(600)
        os._exit(0)
    try:
        with MemoryOfAll([os.getpid(), child]) as memory:
            array[:] = 2
            temporary = np.ones(MEGABYTES << 20, np.uint8)
            until = time.monotonic() + 300  # on a busy machine a look may take long
            while (memory.highest - before) / (1 << 20) < 1.8 * MEGABYTES and time.monotonic() < until:
                time.sleep(0.05)
            del temporary
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
    risen = (memory.highest - before) / (1 << 20)
    assert 1.8 * MEGABYTES < risen < 2.5 * MEGABYTES  # the shared pages once, and the temporary ones


def test_a_process_that_is_gone_has_no_size() -> None:
    assert proportional_size(2**22 + 1) is None
