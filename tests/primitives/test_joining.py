"""Several into one, one into several, and padding."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from strategies import arrays, check_op, shapes, shapes_with_axes

from tinygrad_llm import Tensor, cat, pad, split, stack
from tinygrad_llm.errors import ShapeError


@settings(max_examples=40)
@given(st.data())
def test_cat(data: Any) -> None:
    shape = data.draw(shapes_with_axes)
    axis = data.draw(st.integers(-len(shape), len(shape) - 1))
    sizes = data.draw(st.lists(st.integers(0, 3), min_size=1, max_size=4))
    parts = []
    for size in sizes:
        one = list(shape)
        one[axis] = size
        parts.append(data.draw(arrays(tuple(one))))
    check_op(lambda *tensors: cat(tensors, axis), lambda *each: np.concatenate(each, axis), *parts)


@settings(max_examples=25)
@given(st.data())
def test_stack(data: Any) -> None:
    shape = data.draw(shapes)
    axis = data.draw(st.integers(-len(shape) - 1, len(shape)))
    parts = [data.draw(arrays(shape)) for _ in range(data.draw(st.integers(1, 3)))]
    check_op(lambda *tensors: stack(tensors, axis), lambda *each: np.stack(each, axis), *parts)


def test_one_tensor_may_be_joined_with_itself() -> None:
    x = Tensor([1.0, 2.0], requires_grad=True)
    (cat([x, x]) * np.array([1, 2, 3, 4])).sum().backward()
    np.testing.assert_array_equal(x.grad, [4, 6])
    x.zero_grad()
    (stack([x, x, x]) * np.array([[1], [10], [100]])).sum().backward()
    np.testing.assert_array_equal(x.grad, [111, 111])


@settings(max_examples=40)
@given(st.data())
def test_split_by_size(data: Any) -> None:
    x = data.draw(arrays(shapes_with_axes))
    axis, size = data.draw(st.integers(-x.ndim, x.ndim - 1)), data.draw(st.integers(1, 4))
    cuts = range(size, max(x.shape[axis], 1), size)
    check_op(lambda t: t.split(size, axis), lambda a: np.split(a, list(cuts), axis), x)


@settings(max_examples=25)
@given(st.lists(st.integers(0, 3), min_size=1, max_size=4))
def test_split_by_sizes(sizes: list[int]) -> None:
    x = np.arange(2.0 * sum(sizes)).reshape(2, -1)
    check_op(lambda t: split(t, sizes, axis=1), lambda a: np.split(a, np.cumsum(sizes)[:-1], 1), x)


def test_a_piece_that_is_not_used_has_gradient_zero() -> None:
    x = Tensor(np.ones(5), requires_grad=True)
    first, *_ = x.split(2)
    first.sum().backward()
    np.testing.assert_array_equal(x.grad, [1, 1, 0, 0, 0])


@settings(max_examples=25)
@given(st.data())
def test_pad(data: Any) -> None:
    x = data.draw(arrays(shapes))
    widths = [tuple(data.draw(st.tuples(st.integers(0, 2), st.integers(0, 2)))) for _ in range(x.ndim)]
    value = data.draw(st.sampled_from([0.0, -1.5]))
    check_op(lambda t: pad(t, widths, value), lambda a: np.pad(a, widths, constant_values=value) if widths else a, x)


def test_ids_are_joined_as_ids() -> None:
    assert cat([Tensor([1, 2]), [3]]).dtype == stack([Tensor([1]), Tensor([2])]).dtype == np.int64
    assert Tensor([1, 2]).pad([(1, 0)], value=9).tolist() == [9, 1, 2]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda x: cat([]), "at least one"),
        (lambda x: cat([x, Tensor(np.ones((2, 2)))], 0), r"agree except along axis 0; got \[\(2, 3\), \(2, 2\)\]"),
        (lambda x: cat([x, x], 2), "cat: axis"),
        (lambda x: cat([Tensor(1.0)]), "cat: axis"),
        (lambda x: stack([]), "at least one"),
        (lambda x: stack([x, x.T]), r"all shapes must be equal; got \[\(2, 3\), \(3, 2\)\]"),
        (lambda x: stack([x], 3), "stack: axis"),
        (lambda x: x.split(0), "at least 1; got 0"),
        (lambda x: x.split([1, 2]), r"add up to axis 0 of shape \(2, 3\); got \[1, 2\]"),
        (lambda x: x.split([3, -1]), "add up"),
        (lambda x: x.split(1, 2), "split: axis"),
        (lambda x: x.pad([(1, 1)]), "one .before, after. pair of counts for each of the 2 axes"),
        (lambda x: x.pad([(1, 1), (-1, 0)]), "pair of counts"),
    ],
)
def test_what_does_not_fit(call: Callable[..., Any], message: str) -> None:
    with pytest.raises(ShapeError, match=message):
        call(Tensor(np.ones((2, 3))))


def test_split_into_no_pieces_and_pieces_of_negative_size() -> None:
    assert Tensor(np.ones((0, 2))).split([]) == ()
    with pytest.raises(ShapeError, match="add up"):
        Tensor([1.0, 2.0]).split([3, -1])


def test_pad_takes_one_number_of_xs_kind() -> None:
    for value in (np.ones(2), 1j):
        with pytest.raises(ShapeError, match="one number"):
            pad(Tensor([1.0]), [(1, 1)], value)
