"""The same numbers in another shape or dtype."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst
from strategies import arrays, check_op, shapes, shapes_with_axes

from tinygrad_llm import Tensor
from tinygrad_llm.errors import DTypeError, ShapeError


@settings(max_examples=40)
@given(st.data())
def test_permute_and_reshape(data: Any) -> None:
    x = data.draw(arrays(shapes))
    order = data.draw(st.permutations(range(x.ndim)))
    some = [axis - x.ndim if data.draw(st.booleans()) else axis for axis in order]
    check_op(lambda t: t.permute(*some), lambda a: a.transpose(some), x)
    check_op(lambda t: t.T, lambda a: a.T, x)
    turned = tuple(x.shape[axis] for axis in order)
    check_op(lambda t: t.reshape(turned), lambda a: a.reshape(turned), x)
    check_op(lambda t: t.permute(order).reshape(x.shape), lambda a: a.transpose(order).reshape(x.shape), x)
    if x.size:
        check_op(lambda t: t.reshape(-1), lambda a: a.reshape(-1), x)


@pytest.mark.parametrize("order", [(1, 2, 0), (2, 0, 1), (-1, 0, -2), (0, 2, 1)])
def test_permute_in_a_circle(order: tuple[Any, ...]) -> None:
    check_op(lambda t: t.permute(order), lambda a: a.transpose(order), np.arange(24.0).reshape(2, 3, 4))


@settings(max_examples=25)
@given(st.data())
def test_transpose(data: Any) -> None:
    x = data.draw(arrays(shapes_with_axes))
    axis = st.integers(-x.ndim, x.ndim - 1)
    first, second = data.draw(axis), data.draw(axis)
    check_op(lambda t: t.transpose(first, second), lambda a: a.swapaxes(first, second), x)


@settings(max_examples=25)
@given(st.data())
def test_squeeze_and_unsqueeze(data: Any) -> None:
    x = data.draw(arrays(npst.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=2)))
    check_op(lambda t: t.squeeze(), lambda a: a.squeeze(), x)
    ones = [axis for axis, size in enumerate(x.shape) if size == 1]
    if ones:
        check_op(lambda t: t.squeeze(ones[0]), lambda a: a.squeeze(ones[0]), x)
        check_op(lambda t: t.squeeze(tuple(ones)), lambda a: a.squeeze(tuple(ones)), x)
    axis = data.draw(st.integers(-x.ndim - 1, x.ndim))
    check_op(lambda t: t.unsqueeze(axis), lambda a: np.expand_dims(a, axis), x)


@settings(max_examples=40)
@given(st.data())
def test_broadcast_to(data: Any) -> None:
    two = data.draw(npst.mutually_broadcastable_shapes(num_shapes=2, max_dims=3, min_side=0, max_side=3))
    x = data.draw(arrays(two.input_shapes[0]))
    check_op(lambda t: t.broadcast_to(two.result_shape), lambda a: np.broadcast_to(a, two.result_shape), x)


def test_forward_gives_views() -> None:
    x = Tensor(np.ones((2, 3)))
    for view in (x.reshape(3, 2), x.T, x.transpose(0, 1), x.unsqueeze(0), x.squeeze(), x.broadcast_to((4, 2, 3))):
        assert np.shares_memory(view.data, x.data)


def test_astype_converts_the_dtype_and_the_gradient_keeps_the_original_one() -> None:
    x = Tensor([1.0, 2.0], requires_grad=True)
    y = x.astype(np.float64)
    assert y.dtype == np.float64
    (y * 3).sum().backward()
    assert x.grad.dtype == np.float32
    np.testing.assert_array_equal(x.grad, [3, 3])
    assert not x.astype(np.int64).requires_grad
    assert x.astype("float16").dtype == np.float16
    with pytest.raises(DTypeError, match="must be a NumPy dtype; got 'no such'"):
        x.astype("no such")


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda x: x.reshape(4, 2), r"reshape: 6 elements of shape \(2, 3\) do not fit \(4, 2\)"),
        (lambda x: x.reshape(-1, -1), "do not fit"),
        (lambda x: x.reshape(2.0, 3), "sizes must be integers"),
        (lambda x: x.permute(0), r"all 2 axes must be named; got \(0,\)"),
        (lambda x: x.permute(0, 0), "named once"),
        (lambda x: x.permute(0, 2), r"axis must be an integer in \[-2, 2\)"),
        (lambda x: x.transpose(0, 2), "transpose: axis"),
        (lambda x: x.squeeze(5), "squeeze: axis"),
        (lambda x: x.unsqueeze(3), r"unsqueeze: axis must be an integer in \[-3, 3\)"),
        (lambda x: x.broadcast_to((2, 4)), r"\(2, 3\) does not broadcast to \(2, 4\)"),
        (lambda x: x.broadcast_to((3,)), "does not broadcast"),
        (lambda x: x.broadcast_to((-1, 3)), "does not broadcast"),
    ],
)
def test_shapes_that_cannot_be(call: Callable[..., Any], message: str) -> None:
    with pytest.raises(ShapeError, match=message):
        call(Tensor(np.ones((2, 3))))


def test_squeeze_leaves_an_axis_of_another_size_as_pytorch_does() -> None:
    x = Tensor(np.ones((1, 3)))
    assert x.squeeze(1).shape == (1, 3)
    assert x.squeeze((0, 1)).shape == (3,)


def test_the_number_of_axes_is_named_only_where_there_are_too_many() -> None:
    with pytest.raises(ShapeError) as few:
        Tensor([1.0, 2.0]).reshape(*[1] * 63, 3)
    with pytest.raises(ShapeError, match="at most 64 axes"):
        Tensor([1.0]).reshape(*[1] * 65)
    assert "at most" not in str(few.value)
