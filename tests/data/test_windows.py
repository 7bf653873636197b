"""Windows over token ids, and the split of a text."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinygrad_llm.data import SlidingWindows, train_validation_split
from tinygrad_llm.errors import ConfigError, DataError, DTypeError, IdRangeError, ShapeError


@given(st.integers(2, 60), st.integers(1, 20), st.integers(1, 25))
def test_windows_are_the_books(size: int, context: int, stride: int) -> None:
    ids = list(range(100, 100 + size))
    expected = [(ids[i : i + context], ids[i + 1 : i + context + 1]) for i in range(0, len(ids) - context, stride)]
    if not expected:
        with pytest.raises(DataError, match=rf"needs at least {context + 1} tokens .* got {size}"):
            SlidingWindows(ids, context, stride)
        return
    windows = SlidingWindows(ids, context, stride)
    assert len(windows) == len(expected)
    for i in range(-len(windows), len(windows)):
        inputs, targets = windows[i]
        assert inputs.dtype == targets.dtype == np.int64
        assert (inputs.tolist(), targets.tolist()) == expected[i]


@pytest.mark.parametrize("dtype", [np.uint16, np.uint32, np.int64])
def test_windows_over_a_file(tmp_path: Path, dtype: type) -> None:
    ids = np.memmap(tmp_path / "ids.bin", dtype, "w+", shape=(50,))
    ids[:] = np.arange(50) + 60_000
    windows = SlidingWindows(ids, 8)
    inputs, targets = windows[2]
    assert inputs.tolist() == list(range(60_016, 60_024))
    assert targets.tolist() == list(range(60_017, 60_025))
    inputs[:] = 0  # a window is a copy: the file stays as it is
    assert ids[16] == 60_016


def test_invalid_ids_are_refused() -> None:
    with pytest.raises(ShapeError, match=r"\(2, 3\)"):
        SlidingWindows(np.zeros((2, 3), np.int64), 1)
    with pytest.raises(DTypeError, match="float64"):
        SlidingWindows([0.5, 1.5, 2.5], 1)
    with pytest.raises(DataError, match="got 0"):
        SlidingWindows([], 1)
    for settings in [(0,), (4, 0), (2.5,), (4, -1)]:
        with pytest.raises(ConfigError, match="at least 1"):
            SlidingWindows(range(10), *settings)
    for index in (3, -4):
        with pytest.raises(IdRangeError, match=r"0\.\.2"):
            SlidingWindows(range(10), 3)[index]


def test_split_takes_the_end_for_validation() -> None:
    assert train_validation_split("abcdefghij") == ("abcdefghi", "j")
    assert train_validation_split(list(range(4)), 0.5) == ([0, 1], [2, 3])
    assert train_validation_split("ab", 0) == ("ab", "")
    front, back = train_validation_split(np.arange(20_479))
    assert (len(front), len(back)) == (18_431, 2_048)
    for fraction in (1, -0.1, float("nan")):
        with pytest.raises(ConfigError, match="validation_fraction"):
            train_validation_split("abc", fraction)
