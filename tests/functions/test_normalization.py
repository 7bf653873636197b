"""RMSNorm: the values of a row, and the shape of the weight."""

import numpy as np
import pytest

from tinygrad_llm import Tensor
from tinygrad_llm.errors import ShapeError
from tinygrad_llm.functions import rms_norm
from tinygrad_llm.ops import FUSED

both_sides = pytest.mark.parametrize("side", ["fused", "composed"])
X = np.random.default_rng(1).normal(2, 3, size=(2, 4, 6))
WEIGHT = np.linspace(0.5, 2, 6)


@both_sides
def test_rms_norm_against_its_formula(side: str) -> None:
    y = getattr(FUSED["rms_norm"], side)(Tensor(X), Tensor(WEIGHT), 0.01)
    np.testing.assert_allclose(y.data, X / np.sqrt((X**2).mean(-1, keepdims=True) + 0.01) * WEIGHT, rtol=1e-12)


@both_sides
def test_a_row_of_zeros_stays_zero(side: str) -> None:
    x = Tensor(np.zeros((2, 6)), requires_grad=True)
    y = getattr(FUSED["rms_norm"], side)(x, Tensor(WEIGHT))
    y.backward(np.ones((2, 6)))
    np.testing.assert_array_equal(y.data, 0)
    np.testing.assert_allclose(x.grad, np.broadcast_to(WEIGHT / np.sqrt(1e-5), (2, 6)))


@both_sides
def test_integers_become_float32(side: str) -> None:
    ones = Tensor(np.ones(3, np.float32))
    assert getattr(FUSED["rms_norm"], side)([[1, 2, 3]], ones).dtype == np.float32


@pytest.mark.parametrize("shape", [(5,), (1,), (2, 6), ()])
def test_a_weight_that_does_not_fit(shape: tuple[int, ...]) -> None:
    with pytest.raises(ShapeError, match=r"rms_norm: weight must be \(6,\) to match x \(2, 4, 6\); got \("):
        rms_norm(Tensor(X), Tensor(np.ones(shape)))


@both_sides
def test_a_number_has_no_features(side: str) -> None:
    with pytest.raises(ShapeError):
        getattr(FUSED["rms_norm"], side)(Tensor(1.0), Tensor(WEIGHT))
