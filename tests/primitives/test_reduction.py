"""Many numbers into one, over any axes."""

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from strategies import arrays, arrays_with_axis, check_op, filled_shapes, shapes_with_axes

from tinygrad_llm import Tensor
from tinygrad_llm.errors import ShapeError
from tinygrad_llm.primitives.operands import reduced_axis


def count_along(x: np.ndarray, axis: int | tuple[Any, ...] | None) -> int:
    axes = range(x.ndim) if axis is None else axis if isinstance(axis, tuple) else (axis,)
    return math.prod(x.shape[one] for one in axes)


def logsumexp(x: np.ndarray, axis: int | tuple[Any, ...] | None, keepdims: bool) -> np.float64 | np.ndarray:
    with np.errstate(divide="ignore"):
        return np.log(np.exp(x).sum(axis=axis, keepdims=keepdims))


@pytest.mark.parametrize("name", ["sum", "mean"])
@settings(max_examples=40)
@given(case=arrays_with_axis(), keepdims=st.booleans())
def test_sum_and_mean(name: str, case: tuple[Any, ...], keepdims: bool) -> None:
    x, axis = case
    if name == "mean" and not count_along(x, axis):
        return  # the mean of nothing: below
    of_numpy = getattr(np, name)
    check_op(lambda t: getattr(t, name)(axis, keepdims), lambda a: of_numpy(a, axis=axis, keepdims=keepdims), x)


@settings(max_examples=40)
@given(case=arrays_with_axis(filled_shapes), keepdims=st.booleans())
def test_logsumexp(case: tuple[Any, ...], keepdims: bool) -> None:
    x, axis = case
    check_op(lambda t: t.logsumexp(axis, keepdims), lambda a: logsumexp(a, axis, keepdims), x)


@pytest.mark.parametrize("name", ["max", "min"])
@settings(max_examples=40)
@given(case=arrays_with_axis(filled_shapes, unique=True), keepdims=st.booleans())
def test_max_and_min(name: str, case: tuple[Any, ...], keepdims: bool) -> None:
    x, axis = case
    of_numpy = getattr(np, name)
    check_op(lambda t: getattr(t, name)(axis, keepdims), lambda a: of_numpy(a, axis=axis, keepdims=keepdims), x)


@settings(max_examples=40)
@given(case=arrays_with_axis(filled_shapes), keepdims=st.booleans(), correction=st.sampled_from([0, 1]))
def test_var(case: tuple[Any, ...], keepdims: bool, correction: int) -> None:
    x, axis = case
    if count_along(x, axis) <= correction:
        return  # not enough numbers: below
    check_op(
        lambda t: t.var(axis, keepdims, correction=correction),
        lambda a: np.var(a, axis=axis, keepdims=keepdims, ddof=correction),
        x,
        rtol=1e-12,
    )


def test_var_is_unbiased_by_default() -> None:
    x = Tensor(np.array([1.0, 2.0, 4.0]))
    assert x.var().item() == x.var(unbiased=True).item() == pytest.approx(7 / 3)
    assert x.var(unbiased=False).item() == x.var(correction=0).item() == pytest.approx(14 / 9)


@settings(max_examples=25)
@given(st.data())
def test_cumsum(data: Any) -> None:
    x = data.draw(arrays(shapes_with_axes))
    axis = data.draw(st.integers(-x.ndim, x.ndim - 1))
    check_op(lambda t: t.cumsum(axis), lambda a: np.cumsum(a, axis), x)


@given(case=arrays_with_axis(filled_shapes, unique=True), keepdims=st.booleans())
def test_argmax(case: tuple[Any, ...], keepdims: bool) -> None:
    x, axis = case
    if isinstance(axis, tuple):
        return
    result = Tensor(x, requires_grad=True).argmax(axis, keepdims)
    np.testing.assert_array_equal(result.data, np.argmax(x, axis, keepdims=keepdims))
    assert result.dtype.kind == "i"
    assert not result.requires_grad


def test_elements_that_tie_share_the_gradient() -> None:
    x = Tensor([[1.0, 3.0, 3.0], [2.0, 2.0, 2.0]], requires_grad=True)
    x.max(axis=1).backward(np.array([2.0, 3.0]))
    np.testing.assert_array_equal(x.grad, [[0, 1, 1], [1, 1, 1]])
    x.zero_grad()
    x.min().backward()
    np.testing.assert_array_equal(x.grad, [[1, 0, 0], [0, 0, 0]])


def test_sum_and_mean_of_an_empty_array() -> None:
    x = Tensor(np.ones((0, 3)), requires_grad=True)
    for result, value in ((x.sum(0), 0), (x.mean(0), np.nan), (x.var(0), np.nan), (x.logsumexp(0), -np.inf)):
        np.testing.assert_array_equal(result.data, np.full(3, value))
        result.backward(np.ones(3))
    assert x.grad.shape == (0, 3)
    one = Tensor(np.ones((1, 3)), requires_grad=True)
    one.var(0).sum().backward()
    assert np.isnan(one.grad).all()


def test_logsumexp_of_large_numbers_and_of_infinities() -> None:
    x = Tensor([[1000.0, 1000.0], [-np.inf, -np.inf], [-np.inf, 2.0]], requires_grad=True)
    y = x.logsumexp(axis=-1)
    np.testing.assert_allclose(y.data, [1000 + np.log(2), -np.inf, 2], rtol=1e-6)
    y.backward(np.ones(3))
    np.testing.assert_array_equal(x.grad, [[0.5, 0.5], [0, 0], [0, 1]])


def test_integers_sum_to_integers_and_have_a_float32_mean() -> None:
    ids = Tensor([1, 2])
    assert ids.sum().dtype == ids.cumsum(0).dtype == ids.max().dtype == np.int64
    assert ids.mean().dtype == ids.var().dtype == np.float32
    assert Tensor([True, True]).sum().item() == 2
    half = Tensor(np.ones(3, np.float16))
    assert half.sum().dtype == half.mean().dtype == half.cumsum(0).dtype == np.float16


@pytest.mark.parametrize("name", ["sum", "mean", "var", "max", "min", "logsumexp"])
def test_axes_that_do_not_exist(name: str) -> None:
    x = Tensor(np.ones((2, 3)))
    for axis, shown in ((2, "2"), (-3, "-3"), ((0, 5), "5"), ("rows", "'r'|'rows'"), (1.0, "1.0")):
        with pytest.raises(ShapeError, match=rf"axis must be an integer in \[-2, 2\) for 2 axes; got ({shown})$"):
            getattr(x, name)(axis=axis)
    with pytest.raises(ShapeError, match="each axis may be named once"):
        getattr(x, name)(axis=(0, -2))


@pytest.mark.parametrize("name", ["max", "min", "argmax"])
def test_the_largest_of_nothing(name: str) -> None:
    with pytest.raises(ShapeError, match=r"at least one element along \(0,\); got shape \(0, 3\)"):
        getattr(Tensor(np.ones((0, 3))), name)(axis=0)


@pytest.mark.parametrize("axis", [0, -1])
@pytest.mark.parametrize("name", ["sum", "mean", "max", "min", "logsumexp", "cumsum"])
def test_a_0d_tensor_is_reduced_along_axis_0_as_pytorch_does(name: Any, axis: Any) -> None:
    x = Tensor(np.float64(3.0), requires_grad=True)
    y = getattr(x, name)(axis)
    assert (y.shape, y.item()) == ((), 3.0)
    y.backward()
    assert x.grad == 1.0
    assert x.argmax(axis).item() == 0
    assert x.squeeze(axis).shape == ()
    with pytest.raises(ShapeError, match="axis must be"):
        getattr(x, name)(1)


def test_the_axis_of_a_0d_array_is_none_of_its_axes() -> None:
    assert reduced_axis("max", 0, 0) == reduced_axis("max", -1, 0) == ()
    with pytest.raises(ShapeError, match="axis"):
        reduced_axis("max", 1, 0)


def test_a_sum_that_overflows_or_is_nan_gives_no_warning() -> None:
    assert Tensor(np.full(2, 3e38, np.float32)).sum().data == math.inf
    assert math.isnan(Tensor([math.inf, -math.inf]).sum().item())


@pytest.mark.parametrize("axis", [0.0, -1.0])
def test_the_axis_of_a_0d_tensor_is_an_integer_too(axis: Any) -> None:
    with pytest.raises(ShapeError, match="axis must be an integer"):
        Tensor(3.0).sum(axis=axis)


def test_the_variance_of_float32_far_from_zero_loses_no_digits() -> None:
    x = Tensor(np.float32(2**24 - 4) + np.arange(4, dtype=np.float32))  # the mean lies between two numbers of float32
    assert x.var().item() == pytest.approx(5 / 3, rel=1e-6)
