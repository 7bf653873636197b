"""Functions of one number: values, gradients, and the ends of their ranges."""

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from strategies import arrays, check_op, positive, shapes

from tinygrad_llm import Tensor
from tinygrad_llm.gradcheck import gradcheck

SMOOTH = {
    "exp": np.exp,
    "tanh": np.tanh,
    "sigmoid": lambda x: 1 / (1 + np.exp(-x)),
    "relu": lambda x: np.maximum(x, 0),
    "abs": np.abs,
    "erf": lambda x: np.vectorize(math.erf, otypes=[float])(x),
}


@pytest.mark.parametrize("name", SMOOTH)
@settings(max_examples=25)
@given(x=arrays(shapes))
def test_everywhere(name: str, x: np.ndarray) -> None:
    check_op(lambda t: getattr(t, name)(), SMOOTH[name], x)


@pytest.mark.parametrize("name", ["log", "sqrt"])
@settings(max_examples=25)
@given(x=arrays(shapes, positive))
def test_for_positive_numbers(name: str, x: np.ndarray) -> None:
    check_op(lambda t: getattr(t, name)(), getattr(np, name), x)


@pytest.mark.parametrize("name", ["exp", "tanh", "sigmoid", "log", "sqrt", "erf"])
def test_integers_become_float32(name: str) -> None:
    result = getattr(Tensor([1, 2]), name)()
    assert result.dtype == np.float32


def test_the_builtin_abs() -> None:
    np.testing.assert_array_equal(abs(Tensor([-1.5, 2])).data, np.array([1.5, 2], np.float32))


@pytest.mark.parametrize(
    ("name", "x", "value", "slope"),
    [
        ("exp", [1000.0, -1000.0], [np.inf, 0], [np.inf, 0]),
        ("sigmoid", [1000.0, -1000.0], [1, 0], [0, 0]),
        ("tanh", [1000.0, -1000.0], [1, -1], [0, 0]),
        ("erf", [1000.0, -1000.0], [1, -1], [0, 0]),
        ("log", [0.0, -1.0], [-np.inf, np.nan], [np.inf, -1]),
        ("sqrt", [0.0, -1.0], [0, np.nan], [np.inf, np.nan]),
        ("relu", [0.0, np.nan], [0, np.nan], [0, 1]),
        ("abs", [0.0, -np.inf], [0, np.inf], [0, -1]),
    ],
)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_at_the_ends_without_a_warning(
    name: str, x: list[float], value: list[Any], slope: list[Any], dtype: type
) -> None:
    tensor = Tensor(np.array(x, dtype), requires_grad=True)
    result = getattr(tensor, name)()
    np.testing.assert_array_equal(result.data, np.array(value, dtype))
    result.backward(np.ones(2))
    np.testing.assert_array_equal(tensor.grad, np.array(slope, dtype))


def test_the_complex_step_reaches_the_analytic_ones() -> None:
    x = Tensor(np.array([0.5, 1.25]), requires_grad=True)
    for name in ("exp", "tanh", "sigmoid", "log", "sqrt"):
        assert gradcheck(lambda t, name=name: getattr(t, name)(), [x], method="complex").worst_absolute < 1e-15
