"""The peak memory of the process."""

import numpy as np
import pytest

from tinygrad_llm.measure.peak_memory import HighWaterMark


def test_a_short_peak_of_memory_is_measured() -> None:
    mark = HighWaterMark()
    if mark.risen is None:
        pytest.skip("this system keeps no mark")
    np.ones(10_000_000)
    assert mark.highest > mark.risen >= 75_000_000  # the system counts in larger pieces than bytes
    again = HighWaterMark()
    np.ones(5_000_000)
    assert 0 <= again.risen < 75_000_000
