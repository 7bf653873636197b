"""Sums, products, quotients, powers: values, gradients, broadcasting, dtypes and errors."""

import math
import operator
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from strategies import arrays, broadcast_pairs, check_op, positive, shapes

from tinygrad_llm import Tensor, no_grad
from tinygrad_llm.errors import DTypeError, GraphError, ShapeError

BINARY = [operator.add, operator.sub, operator.mul, operator.truediv]


@pytest.mark.parametrize("op", BINARY, ids=lambda op: op.__name__)
@settings(max_examples=25)
@given(pair=broadcast_pairs())
def test_two_tensors(op: Callable[..., Any], pair: tuple[Any, ...]) -> None:
    check_op(op, op, *pair)


@settings(max_examples=25)
@given(broadcast_pairs(positive))
def test_power(pair: tuple[Any, ...]) -> None:
    check_op(operator.pow, operator.pow, *pair)


@given(arrays(shapes))
def test_negative(x: np.ndarray) -> None:
    check_op(operator.neg, operator.neg, x)


@pytest.mark.parametrize("exponent", [0, 1, 2, 3, -1, -0.5, 0.5])
def test_power_of_a_number(exponent: float) -> None:
    check_op(lambda x: x**exponent, lambda x: x**exponent, np.array([0.25, 0.5, 1.5, 3.0]))


def test_powers_of_zero_and_of_negative_numbers() -> None:
    x = Tensor([0.0, -2.0], requires_grad=True)
    for exponent, slope in ((0, [0, 0]), (1, [1, 1]), (2, [0, -4]), (3, [0, 12])):
        x.zero_grad()
        (x**exponent).backward(np.ones(2))
        np.testing.assert_array_equal(x.grad, np.array(slope, np.float32))
    exponent = Tensor([2.0], requires_grad=True)
    (Tensor([0.0]) ** exponent).backward()
    assert exponent.grad == 0


@pytest.mark.parametrize("op", [*BINARY, operator.pow], ids=lambda op: op.__name__)
@pytest.mark.parametrize("other", [2, 2.0, np.float32(2), np.float64(2), True, np.array([1.0, 2.0], np.float32)])
def test_numbers_and_arrays_on_either_side_stay_in_the_graph_and_in_float32(
    op: Callable[..., Any], other: float
) -> None:
    for left in (True, False):
        x = Tensor([1.5, 2.5], requires_grad=True)
        y = op(x, other) if left else op(other, x)
        assert isinstance(y, Tensor)
        assert y.dtype == np.float32
        np.testing.assert_allclose(y.data, op(x.data, other) if left else op(other, x.data), rtol=1e-6)
        y.sum().backward()
        assert x.grad is not None and x.grad.dtype == np.float32


@pytest.mark.parametrize(
    ("left", "right", "expected"),
    [
        ("float32", "float64", "float64"),
        ("float32", "int64", "float32"),
        ("float64", "int32", "float64"),
        ("int32", "int64", "int64"),
        ("bool", "float32", "float32"),
        ("float16", "int64", "float16"),
    ],
)
def test_two_dtypes_meet(left: str, right: str, expected: str) -> None:
    a, b = Tensor(np.ones(2, left)), Tensor(np.ones(2, right))
    for op in (operator.add, operator.sub, operator.mul):
        assert op(a, b).dtype == op(b, a).dtype == expected


def test_integers_divide_into_float32_and_stay_integers_else() -> None:
    ids = Tensor([1, 2])
    assert (ids / 2).dtype == np.float32
    assert (ids + 1).dtype == (ids * 2).dtype == (ids**2).dtype == np.int64
    np.testing.assert_allclose((ids**-1).data, [1, 0.5])
    assert (Tensor([True]) - Tensor([True])).dtype == np.int64


def test_a_gradient_returns_in_the_dtype_of_its_parent() -> None:
    single, double = Tensor(np.ones(2, np.float32), True), Tensor(np.ones(2), True)
    (single * double).sum().backward()
    assert single.grad.dtype == np.float32
    assert double.grad.dtype == np.float64


def test_division_by_zero_is_ieee() -> None:
    x, y = Tensor([1.0, 0.0], True), Tensor([0.0, 0.0], True)
    z = x / y
    np.testing.assert_array_equal(z.data, np.array([np.inf, np.nan], np.float32))
    z.sum().backward()


@pytest.mark.parametrize("op", [*BINARY, operator.pow], ids=lambda op: op.__name__)
def test_shapes_that_do_not_broadcast(op: Callable[..., Any]) -> None:
    with pytest.raises(ShapeError, match=r"broadcast.*\(2, 3\) and \(2,\)"):
        op(Tensor(np.ones((2, 3))), Tensor(np.ones(2)))


IN_PLACE = [operator.iadd, operator.isub, operator.imul, operator.itruediv]


@pytest.mark.parametrize("op", IN_PLACE, ids=lambda op: op.__name__)
def test_in_place_on_plain_tensors_writes_into_the_same_array(op: Callable[..., Any]) -> None:
    x = Tensor([2.0, 4.0])
    data, expected = x.data, op(np.array([2.0, 4.0], np.float32), np.float32(2))
    before = x
    x = op(x, 2)
    assert x is before
    assert x.data is data
    np.testing.assert_array_equal(data, expected)


@pytest.mark.parametrize("op", IN_PLACE, ids=lambda op: op.__name__)
def test_in_place_on_a_leaf_is_refused_and_on_a_computed_tensor_gives_a_new_one(op: Callable[..., Any]) -> None:
    leaf = Tensor([2.0], requires_grad=True)
    with pytest.raises(GraphError, match="in-place"):
        op(leaf, 1.0)
    for target, other in ((leaf * 2, 1.0), (Tensor([1.0]), leaf)):
        before = target.data.copy()
        assert op(target, other).requires_grad
        np.testing.assert_array_equal(target.data, before)
    with no_grad():
        assert op(leaf, Tensor([2.0])) is leaf  # how an optimizer updates a parameter
    assert leaf.requires_grad


def test_in_place_keeps_shape_and_dtype() -> None:
    x = Tensor(np.ones((2, 1), np.float32))
    with pytest.raises(ShapeError, match=r"must broadcast to \(2, 1\).*\(2, 3\)"):
        x += np.ones((2, 3))
    ids = Tensor([1, 2])
    with pytest.raises(DTypeError, match="int64"):
        ids += 0.5
    with pytest.raises(DTypeError, match="int64"):
        ids /= 2
    x += np.ones(1)
    assert x.dtype == np.float32


def test_a_whole_number_takes_the_dtype_of_an_integer_tensor() -> None:
    assert (Tensor(np.array([1, 2], np.int8)) + 1).dtype == np.int8
    assert (Tensor(np.array([1, 2], np.int8)) + 0.5).dtype.kind == "f"


def test_an_array_keeps_its_own_dtype() -> None:
    assert (Tensor(np.array([1.0], np.float32)) + np.array([0.1])).dtype == np.float64


def test_a_power_that_is_infinite_or_nan_gives_no_warning() -> None:
    assert (Tensor([0.0, -1.0, 1e30]) ** Tensor([-1.0, 0.5, 2.0])).data.tolist()[0] == math.inf


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_a_number_takes_the_dtype_of_a_float_tensor(dtype: Any) -> None:
    total = Tensor(np.ones(1, dtype)) + 0.1
    assert total.dtype == dtype and total.data[0] == dtype(1) + dtype(0.1)


def test_integers_to_the_power_of_zero_stay_integers() -> None:
    z = Tensor([2, 0]) ** Tensor([0, 3])
    assert (z.tolist(), z.dtype.kind) == ([1, 0], "i")
