"""Rotary scaling: what becomes slower, and how much; refusals."""

import math
from typing import Any

import numpy as np
import pytest

from tinygrad_llm import Tensor, nn
from tinygrad_llm.errors import ConfigError
from tinygrad_llm.layers.rotary_scaling import complete_scaling, rotary_magnitude

YARN = {"type": "yarn", "factor": 4.0, "original_context_length": 512}


def test_linear_scaling_divides_all_positions() -> None:
    np.testing.assert_allclose(
        nn.rotary_frequencies(8, 100.0, {"type": "linear", "factor": 4.0}), nn.rotary_frequencies(8, 100.0) / 4
    )


def test_yarn_keeps_fast_pairs_slows_slow_ones_and_raises_the_scores() -> None:
    plain, scaled = nn.rotary_frequencies(64, 1e4), nn.rotary_frequencies(64, 1e4, YARN)
    turns = 512 * plain / (2 * math.pi)
    first, last = np.flatnonzero(turns <= 32)[0] - 1, np.flatnonzero(turns <= 1)[0]
    np.testing.assert_array_equal(scaled[: first + 1], plain[: first + 1])
    np.testing.assert_allclose(scaled[last:], plain[last:] / 4)
    share = (np.arange(first, last) - first) / (last - first)  # grows with the number of the pair
    np.testing.assert_allclose(scaled[first:last], plain[first:last] * (1 - share + share / 4))
    exact = nn.rotary_frequencies(64, 1e4, YARN | {"truncate": False})
    assert 0 < np.abs(exact / scaled - 1).max() < 0.2
    assert rotary_magnitude(YARN) == pytest.approx(0.1 * math.log(4) + 1)
    assert rotary_magnitude(YARN | {"factor": 0.5}) == 1 == rotary_magnitude(None)
    x = np.ones((1, 3, 64))
    (turned,) = nn.RotaryPositions(64, 1e4, YARN | {"attention_factor": 1.5})(np.arange(3), Tensor(x))
    np.testing.assert_allclose(np.linalg.norm(turned.data, axis=-1), 1.5 * 8)


@pytest.mark.parametrize(
    ("scaling", "message"),
    [
        ({"type": "dynamic", "factor": 2.0}, "must have a type of linear, llama3, yarn; got"),
        ({"type": 3}, "must have a type"),
        (5, "must have a type"),
        ({"type": "linear"}, "linear scaling must have factor; got"),
        ({"type": "linear", "factor": 2.0, "beta_fast": 1.0}, "linear scaling must have factor; got"),
        ({"type": "yarn", "factor": 2.0}, "must have factor, original_context_length, and may have beta_fast"),
        (YARN | {"beta_slow": 40.0}, "beta_slow below beta_fast"),
        (YARN | {"factor": 0.0}, "numbers above 0"),
        (YARN | {"attention_factor": -1.0}, "numbers above 0"),
        (YARN | {"truncate": "no"}, "truncate true or false"),
    ],
    ids=str,
)
def test_other_scalings_are_refused(scaling: Any, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        nn.rotary_frequencies(8, 10.0, scaling)


def test_what_was_left_out_is_completed() -> None:
    assert complete_scaling(YARN) == YARN | {
        "beta_fast": 32.0,
        "beta_slow": 1.0,
        "attention_factor": None,
        "truncate": True,
    }
    with pytest.raises(ConfigError, match="base must be above 1 for YaRN"):
        nn.rotary_frequencies(8, 1.0, YARN)
