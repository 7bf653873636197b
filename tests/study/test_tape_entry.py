"""The entries of the tape: statistics of arrays, and the description of an operation."""

import math

import numpy as np
import pytest

from tinygrad_llm import Tensor, study
from tinygrad_llm.study.tape_entry import summarize


def test_the_summary_of_an_array() -> None:
    x = np.array([[3.0, -4.0, 0.0], [np.nan, 1.0, -np.inf]])
    seen, finite = summarize(x), [3.0, -4.0, 0.0, 1.0]
    assert (seen.mean, seen.std, seen.min, seen.max) == (0, pytest.approx(np.std(finite)), -4, 3)
    assert (seen.norm, seen.zeros, seen.not_finite) == (pytest.approx(math.sqrt(26)), 1 / 6, 1 / 3)
    assert (seen.largest, seen.largest_at, seen.shape, seen.dtype) == (-4, (0, 1), (2, 3), np.float64)
    assert summarize(np.array(-2.5, np.float32))[2:] == (-2.5, 0, -2.5, -2.5, 2.5, 0, 0, -2.5, ())
    assert summarize(np.array([True, False])).zeros == 0.5
    assert summarize(np.array([3 + 4j])).max == 5
    for nothing in (np.zeros((0, 3)), np.array([np.nan])):
        assert math.isnan(summarize(nothing).mean) and summarize(nothing).largest_at is None


def test_values_at_the_index_of_the_largest_gradient() -> None:
    with study.record() as tape:
        x = Tensor([[0.5, -2.0]], requires_grad=True)
        y = Tensor([[3.0, 5.0]], requires_grad=True)
        (x * y).sum().backward()
    call = tape[0].backward
    assert call.incoming == "dz" and [g.largest for g in call.gradients] == [5.0, -2.0]
    # Their product is gone: nothing but `sum` read it, which does not need it.
    assert call.at_largest == ({"dz": 1.0, "x": -2.0, "y": 5.0},) * 2
    assert "largest element dx[0, 1] = 5; at this index dz = 1, x = -2, y = 5" in str(tape[0])
