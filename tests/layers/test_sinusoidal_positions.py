"""Sinusoidal positions, against their formula and what they are for."""

import math
from typing import Any

import numpy as np
import pytest

from tinygrad_llm import Tensor, nn
from tinygrad_llm.errors import ConfigError
from tinygrad_llm.nn import SinusoidalPositions, sinusoidal_positions


def test_is_the_formula_of_the_paper() -> None:
    table = sinusoidal_positions(7, 6)
    for t in range(7):
        for i in range(3):
            angle = t / 10000 ** (2 * i / 6)
            assert table[t, 2 * i] == pytest.approx(math.sin(angle), abs=1e-15)
            assert table[t, 2 * i + 1] == pytest.approx(math.cos(angle), abs=1e-15)


def test_an_odd_width_ends_with_a_sine() -> None:
    np.testing.assert_allclose(sinusoidal_positions(3, 5)[:, 4], np.sin(np.arange(3) / 10000**0.8))


def test_a_shift_of_positions_is_the_same_rotation_everywhere() -> None:
    table = sinusoidal_positions(50, 8)
    sine, cosine = np.sin(3 / 10000**0.25), np.cos(3 / 10000**0.25)
    turned = table[:-3, 2:4] @ np.array([[cosine, -sine], [sine, cosine]])
    np.testing.assert_allclose(turned, table[3:, 2:4], atol=1e-12)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_adds_the_rows_of_the_positions_and_keeps_the_dtype(dtype: Any) -> None:
    layer, x = SinusoidalPositions(9, 4), np.ones((2, 3, 4), dtype)
    y = layer(Tensor(x, dtype=dtype), [5, 0, 8])
    assert y.dtype == dtype
    np.testing.assert_allclose(y.data, 1 + sinusoidal_positions(9, 4)[[5, 0, 8]][None].repeat(2, 0), rtol=1e-6)
    assert isinstance(layer, nn.Module) and not layer.state_dict()


def test_sizes_are_checked() -> None:
    with pytest.raises(ConfigError, match="embedding_dim must be an integer of at least 1; got 0"):
        sinusoidal_positions(3, 0)
