"""LayerNorm: the values of a row, and the shapes of weight and bias."""

import numpy as np
import pytest

from tinygrad_llm import Tensor
from tinygrad_llm.errors import ShapeError
from tinygrad_llm.ops import FUSED, layer_norm

both_sides = pytest.mark.parametrize("side", ["fused", "composed"])
X = np.random.default_rng(1).normal(2, 3, size=(2, 4, 6))
WEIGHT, BIAS = np.linspace(0.5, 2, 6), np.linspace(-1, 1, 6)


@both_sides
def test_layer_norm_against_its_formula(side: str) -> None:
    y = getattr(FUSED["layer_norm"], side)(Tensor(X), Tensor(WEIGHT), Tensor(BIAS), 0.01)
    expected = (X - X.mean(-1, keepdims=True)) / np.sqrt(X.var(-1, keepdims=True) + 0.01) * WEIGHT + BIAS
    np.testing.assert_allclose(y.data, expected, rtol=1e-12)


def test_rows_have_mean_zero_and_the_books_variance_one() -> None:
    y = layer_norm(Tensor(X), Tensor(np.ones(6)), Tensor(np.zeros(6))).data
    np.testing.assert_allclose(y.mean(-1), 0, atol=1e-15)
    np.testing.assert_allclose(y.var(-1), 1, rtol=1e-5)  # divided by C, not C - 1; eps takes a little


@both_sides
def test_a_constant_row_is_its_bias(side: str) -> None:
    x = Tensor(np.full((2, 6), 1e4, np.float32), requires_grad=True)
    weight, bias = Tensor(WEIGHT.astype(np.float32)), Tensor(BIAS.astype(np.float32))
    y = getattr(FUSED["layer_norm"], side)(x, weight, bias)
    np.testing.assert_array_equal(y.data, np.broadcast_to(bias.data, (2, 6)))
    y.backward(np.ones((2, 6), np.float32))
    assert np.isfinite(x.grad).all()


@both_sides
def test_integers_become_float32(side: str) -> None:
    ones = Tensor(np.ones(3, np.float32))
    assert getattr(FUSED["layer_norm"], side)([[1, 2, 3]], ones, ones).dtype == np.float32


@pytest.mark.parametrize("shape", [(5,), (1,), (2, 6), ()])
def test_vectors_that_do_not_fit(shape: tuple[int, ...]) -> None:
    x, fits, wrong = Tensor(X), Tensor(WEIGHT), Tensor(np.ones(shape))
    got = str(shape).replace("(", r"\(").replace(")", r"\)")
    message = rf"must be \(6,\) to match x \(2, 4, 6\); got {got}"
    with pytest.raises(ShapeError, match=f"layer_norm: weight {message}"):
        layer_norm(x, wrong, fits)
    with pytest.raises(ShapeError, match=f"layer_norm: bias {message}"):
        layer_norm(x, fits, wrong)


@both_sides
def test_a_number_has_no_features(side: str) -> None:
    with pytest.raises(ShapeError):
        getattr(FUSED["layer_norm"], side)(Tensor(1.0), Tensor(WEIGHT))
