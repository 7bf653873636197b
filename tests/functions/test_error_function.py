"""The error function against math.erf."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from tinygrad_llm.errors import DTypeError
from tinygrad_llm.functions.error_function import erf, erf_derivative

any_shape = npst.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=7)


def by_definition(x: np.ndarray) -> np.ndarray:
    return np.array([math.erf(v) for v in x.reshape(-1)], np.float64).reshape(x.shape)


def test_float64_on_a_dense_grid() -> None:
    grid = np.concatenate([np.linspace(-7, 7, 70_001), np.linspace(0.999, 1.001, 10_001)])
    expected = by_definition(grid)
    assert np.abs(erf(grid) - expected).max() <= 2.3e-16
    assert (np.abs(erf(grid) - expected) <= 2 * np.spacing(np.abs(expected))).all()


def test_float64_keeps_its_digits_near_zero() -> None:
    x = np.logspace(-300, 0, 5000)
    np.testing.assert_allclose(erf(x), by_definition(x), rtol=5e-16, atol=0)


def test_float32_on_a_dense_grid() -> None:
    grid = np.linspace(-5, 5, 100_001).astype(np.float32)
    expected = by_definition(grid)
    got = erf(grid)
    assert got.dtype == np.float32
    assert np.abs(got - expected).max() <= 3.5e-7
    assert (np.abs(got - expected) <= 6 * np.spacing(np.abs(expected).astype(np.float32))).all()


@given(npst.arrays(np.float64, any_shape, elements=st.floats(allow_nan=True, allow_infinity=True)))
def test_every_float64_array(x: np.ndarray) -> None:
    np.testing.assert_allclose(erf(x), by_definition(x), rtol=5e-16, atol=5e-324, strict=True)
    assert isinstance(erf(x), np.ndarray)


@given(npst.arrays(np.float32, any_shape, elements=st.floats(width=32, allow_nan=True, allow_infinity=True)))
def test_every_float32_array(x: np.ndarray) -> None:
    np.testing.assert_allclose(erf(x), by_definition(x).astype(np.float32), rtol=5e-7, atol=3e-45, strict=True)
    np.testing.assert_array_equal(erf(-x), -erf(x))


@pytest.mark.parametrize("dtype", [np.float64, np.float32, np.float16])
def test_ends_and_signs(dtype: type) -> None:
    y = erf(np.array([0.0, -0.0, np.inf, -np.inf, np.nan, 30, -30], dtype))
    assert y.dtype == dtype
    np.testing.assert_array_equal(y, np.array([0, 0, 1, -1, np.nan, 1, -1], dtype))
    assert not np.signbit(y[0])
    assert np.signbit(y[1])


def test_derivative() -> None:
    x = np.linspace(-4, 4, 801)
    step = 1e-5
    np.testing.assert_allclose(erf_derivative(x), (erf(x + step) - erf(x - step)) / (2 * step), atol=1e-10)
    assert erf_derivative(np.float32([0.0]))[0] == np.float32(2 / math.sqrt(math.pi))
    np.testing.assert_array_equal(erf_derivative(np.float32([np.inf, -3e38, np.nan])), np.float32([0, 0, np.nan]))
    assert erf_derivative(np.float64(1.0)).shape == ()


def test_what_counts_as_a_number() -> None:
    assert erf(1) == math.erf(1)
    assert erf([1, 2]).dtype == np.float64
    for function in (erf, erf_derivative):
        for x in (np.array(1j), np.array(["a"]), np.array([None])):
            with pytest.raises(DTypeError, match="float64"):
                function(x)
