"""Dropout: the book's mask, the scale that keeps the mean, and when nothing is drawn."""

import math

import numpy as np
import pytest

from tinygrad_llm import Tensor, manual_seed
from tinygrad_llm.errors import ConfigError
from tinygrad_llm.ops import FUSED, dropout
from tinygrad_llm.random import Generator

both_sides = pytest.mark.parametrize("side", ["fused", "composed"])


@both_sides
def test_the_books_mask(side: str) -> None:
    manual_seed(123)
    y = getattr(FUSED["dropout"], side)(Tensor(np.ones((6, 6), np.float32)), 0.5)
    np.testing.assert_array_equal(y.data[0], [2, 2, 0, 2, 2, 0])
    assert y.dtype == np.float32


@both_sides
def test_a_generator_of_its_own_leaves_the_default_one_alone(side: str) -> None:
    x, op = Tensor(np.ones((6, 6), np.float32)), getattr(FUSED["dropout"], side)
    default = manual_seed(1)
    before = default.state()
    y = op(x, 0.5, generator=Generator(123))
    np.testing.assert_array_equal(y.data[0], [2, 2, 0, 2, 2, 0])
    assert repr(default.state()) == repr(before)


@both_sides
@pytest.mark.parametrize("options", [{"p": 0.0}, {"p": 0.5, "training": False}, {"p": 1.0}])
def test_dropout_of_0_or_1_draws_no_random_numbers_on_either_side(options: dict, side: str) -> None:
    generator = Generator(3)
    x = Tensor(np.ones(4))
    y = getattr(FUSED["dropout"], side)(x, **options, generator=generator)
    assert repr(generator.state()) == repr(Generator(3).state())
    if options["p"] == 1:
        np.testing.assert_array_equal(y.data, 0)
    else:
        assert y is x


def test_the_mean_stays() -> None:
    y = dropout(Tensor(np.ones(20_000)), 0.3, generator=Generator(0)).data
    assert set(np.unique(y)) == {0.0, 1 / 0.7}
    assert abs(y.mean() - 1) < 4 * math.sqrt(0.3 / 0.7 / 20_000)  # four standard deviations


def test_the_gradient_passes_where_the_value_did() -> None:
    x = Tensor(np.ones((5, 8), np.float32), requires_grad=True)
    y = dropout(x, 0.4, generator=Generator(2))
    y.backward(np.full((5, 8), 3, np.float32))
    np.testing.assert_allclose(x.grad, 3 * y.data)
    assert x.grad.dtype == np.float32


@both_sides
@pytest.mark.parametrize("p", [-0.1, 1.5, math.nan, "half", None])
def test_what_is_no_probability(p: float, side: str) -> None:
    for training in (True, False):
        with pytest.raises(ConfigError, match=rf"dropout: p must be a probability in \[0, 1\]; got {p!r}"):
            getattr(FUSED["dropout"], side)(Tensor(np.ones(3)), p, training)
