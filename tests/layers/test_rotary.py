"""Rotary positions: relative, scaled, and equal to complex numbers."""

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from layer_checks import randn

from tinygrad_llm import Tensor, nn
from tinygrad_llm.errors import ConfigError, ShapeError
from tinygrad_llm.nn import functional as F

SCALING = {"factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0, "original_context_length": 100}


@given(pairs=st.integers(1, 4), first=st.integers(0, 50), second=st.integers(0, 50), shift=st.integers(0, 10_000))
def test_a_score_depends_on_the_distance_of_two_tokens_only(pairs: Any, first: Any, second: Any, shift: Any) -> None:
    rotary = nn.RotaryPositions(2 * pairs, base=100.0)
    query, key = Tensor(randn(1, 1, 2 * pairs)), Tensor(randn(1, 1, 2 * pairs, seed=1))

    def score(i: Any, j: Any) -> Any:
        (q,), (k,) = rotary([i], query), rotary([j], key)
        return float((q * k).sum().data)

    assert math.isclose(score(first, second), score(first + shift, second + shift), rel_tol=1e-9, abs_tol=1e-9)


def test_rotation_is_multiplication_by_a_complex_number() -> None:
    frequencies = nn.rotary_frequencies(6, 50.0)
    np.testing.assert_allclose(frequencies, [1, 50 ** (-1 / 3), 50 ** (-2 / 3)])
    x = randn(2, 3, 5, 6)
    positions = np.array([[0, 1, 2, 7, 90], [4, 4, 0, 1, 2]])
    (y,) = nn.RotaryPositions(6, 50.0)(positions, Tensor(x))
    turned = (x[..., :3] + 1j * x[..., 3:]) * np.exp(1j * positions[:, None, :, None] * frequencies)
    np.testing.assert_allclose(y.data, np.concatenate([turned.real, turned.imag], axis=-1), atol=1e-12)


def test_scaling_slows_slow_pairs_and_keeps_fast_ones() -> None:
    plain, scaled = nn.rotary_frequencies(64, 1e6), nn.rotary_frequencies(64, 1e6, SCALING)
    turns = 100 * plain / (2 * math.pi)
    np.testing.assert_array_equal(scaled[turns > 4], plain[turns > 4])
    np.testing.assert_allclose(scaled[turns < 1], plain[turns < 1] / 8)
    between = (turns >= 1) & (turns <= 4)
    assert between.any() and np.all(np.diff(scaled) < 0)
    share = (turns[between] - 1) / 3
    np.testing.assert_allclose(scaled[between], share * plain[between] + (1 - share) * plain[between] / 8)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((3,), "head_dim must be even"),
        ((0,), "head_dim must be an integer of at least 1"),
        ((4, 0.0), "base must be a finite number above 0"),
        ((4, math.inf), "base must be"),
        ((4, 10.0, {"factor": 2.0}), "scaling must have factor, low_freq_factor"),
        ((4, 10.0, SCALING | {"factor": 0}), "numbers above 0"),
        ((4, 10.0, SCALING | {"low_freq_factor": 4.0}), "low_freq_factor below high_freq_factor"),
        ((4, 10.0, SCALING | {"factor": "8"}), "numbers above 0"),
    ],
)
def test_invalid_arguments_are_refused(arguments: Any, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        nn.rotary_frequencies(*arguments)


def test_rotate_refuses_an_odd_number_of_features() -> None:
    with pytest.raises(ShapeError, match="even D"):
        F.rotate(np.ones((2, 3)), np.ones(1), np.ones(1))
    with pytest.raises(ShapeError, match="must broadcast to"):
        F.rotate(np.ones((2, 4)), np.ones((5, 2)), np.ones((5, 2)))
