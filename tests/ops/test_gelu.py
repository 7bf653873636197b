"""GELU: its formula, its limits, and what it saves."""

import math
import sys

import numpy as np
import pytest

from tinygrad_llm import Tensor, graph, no_grad
from tinygrad_llm.errors import ConfigError
from tinygrad_llm.ops import FUSED, gelu

both_sides = pytest.mark.parametrize("side", ["fused", "composed"])

X = np.linspace(-6, 6, 97)
FORMULAS = {
    "none": X * np.array([0.5 * (1 + math.erf(x / math.sqrt(2))) for x in X]),
    "tanh": X * 0.5 * (1 + np.tanh(math.sqrt(2 / math.pi) * (X + 0.044715 * X**3))),
}


@both_sides
@pytest.mark.parametrize("approximate", ["none", "tanh"])
def test_gelu_against_its_formula(approximate: str, side: str) -> None:
    y = getattr(FUSED["gelu"], side)(Tensor(X), approximate)
    np.testing.assert_allclose(y.data, FORMULAS[approximate], rtol=1e-12, atol=1e-15)


def test_gelu_is_exact_unless_asked() -> None:
    np.testing.assert_array_equal(gelu(Tensor(X)).data, gelu(Tensor(X), approximate="none").data)
    assert 1e-5 < np.abs(FORMULAS["none"] - FORMULAS["tanh"]).max() < 1e-3  # near, and not the same


@both_sides
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("approximate", ["none", "tanh"])
def test_far_from_zero_it_is_the_identity_or_zero(approximate: str, dtype: type, side: str) -> None:
    far = 50
    x = Tensor(np.array([-1e6, -far, 0, far, 1e6], dtype), requires_grad=True)
    y = getattr(FUSED["gelu"], side)(x, approximate)
    y.backward(np.ones(5, dtype))
    np.testing.assert_allclose(y.data, [0, 0, 0, far, 1e6], atol=1e-30)
    np.testing.assert_allclose(x.grad, [0, 0, 0.5, 1, 1], atol=1e-30)


def test_nan_and_infinity_are_not_hidden() -> None:
    x = Tensor(np.array([np.nan, np.inf]))
    for y in (gelu(x), gelu(x, approximate="tanh")):
        np.testing.assert_array_equal(y.data, [np.nan, np.inf])


@both_sides
def test_integers_become_float32(side: str) -> None:
    assert getattr(FUSED["gelu"], side)(Tensor([-1, 2])).dtype == np.float32


@both_sides
@pytest.mark.parametrize("approximate", ["erf", "Tanh", None, True])
def test_an_unknown_approximation(approximate: str | None, side: str) -> None:
    with pytest.raises(ConfigError, match=f'approximate must be "none" or "tanh"; got {approximate!r}'):
        getattr(FUSED["gelu"], side)(Tensor(X), approximate)


@pytest.mark.parametrize("small", [True, False])
def test_the_derivative_is_computed_once_and_only_for_a_backward(small: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(graph, "RECOMPUTED_FROM", math.inf if small else 0)
    asked = []

    def counting(x: np.ndarray, y: np.ndarray, slope: np.ndarray, scratch: np.ndarray) -> None:
        asked.append(slope.size > 0)
        y[...] = x
        slope[...] = 1

    monkeypatch.setattr(sys.modules["tinygrad_llm.functions.error_function"], "gelu_exact_block", counting)
    x = Tensor(X, requires_grad=True)
    gelu(Tensor(X))
    with no_grad():
        gelu(x)
    assert asked == [False] * 2
    y = gelu(x)
    assert y.node is not None
    if not small:
        y.node.recompute()  # as the layer behind it does, and what it computes serves the derivative too
    y.backward(np.ones_like(X))
    assert asked == [False] * 2 + ([True] if small else [False, True])
