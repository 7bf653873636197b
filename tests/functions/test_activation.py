"""SiLU: its formula, its limits, and what it saves."""

import numpy as np
import pytest

from tinygrad_llm import Tensor, no_grad
from tinygrad_llm.functions import silu
from tinygrad_llm.ops import FUSED

both_sides = pytest.mark.parametrize("side", ["fused", "composed"])

X = np.linspace(-6, 6, 97)


@both_sides
def test_silu_against_its_formula(side: str) -> None:
    np.testing.assert_allclose(getattr(FUSED["silu"], side)(Tensor(X)).data, X / (1 + np.exp(-X)), rtol=1e-13)


@both_sides
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_far_from_zero_it_is_the_identity_or_zero(dtype: type, side: str) -> None:
    x = Tensor(np.array([-1e6, -800, 0, 800, 1e6], dtype), requires_grad=True)
    y = getattr(FUSED["silu"], side)(x)
    y.backward(np.ones(5, dtype))
    np.testing.assert_allclose(y.data, [0, 0, 0, 800, 1e6], atol=1e-30)
    np.testing.assert_allclose(x.grad, [0, 0, 0.5, 1, 1], atol=1e-30)


def test_nan_and_infinity_are_not_hidden() -> None:
    np.testing.assert_array_equal(silu(Tensor(np.array([np.nan, np.inf]))).data, [np.nan, np.inf])


@both_sides
def test_integers_become_float32(side: str) -> None:
    assert getattr(FUSED["silu"], side)(Tensor([-1, 2])).dtype == np.float32


def test_the_derivative_is_computed_only_for_a_backward(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def counting(x: np.ndarray, y: np.ndarray, slope: np.ndarray, scratch: np.ndarray) -> None:
        asked.append(slope.size > 0)
        y[...] = x

    monkeypatch.setattr("tinygrad_llm.functions.activation.silu_block", counting)
    x = Tensor(X, requires_grad=True)
    silu(x)
    silu(Tensor(X))
    with no_grad():
        silu(x)
    assert asked == [True, False, False]
