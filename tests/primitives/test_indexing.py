"""Reading and writing some of the elements; an element read twice gets two gradients."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst
from strategies import arrays, check_op, filled_shapes, shapes

from tinygrad_llm import Tensor, no_grad
from tinygrad_llm.errors import DTypeError, GraphError, IdRangeError, ShapeError


@settings(max_examples=60)
@given(st.data())
def test_basic_indexing(data: Any) -> None:
    x = data.draw(arrays(shapes))
    key = data.draw(npst.basic_indices(x.shape, allow_newaxis=True, allow_ellipsis=True))
    check_op(lambda t: t[key], lambda a: np.asarray(a[key]), x)


@settings(max_examples=60)
@given(st.data())
def test_integer_arrays_with_repeats(data: Any) -> None:
    x = data.draw(arrays(filled_shapes.filter(len)))
    picked = npst.array_shapes(min_dims=0, max_dims=2, max_side=4)
    key = data.draw(npst.integer_array_indices(x.shape, result_shape=picked))
    check_op(lambda t: t[key], lambda a: np.asarray(a[key]), x)


@settings(max_examples=40)
@given(st.data())
def test_masks(data: Any) -> None:
    x = data.draw(arrays(shapes))
    mask = data.draw(npst.arrays(bool, x.shape))
    check_op(lambda t: t[mask], lambda a: a[mask], x)


def test_repeated_elements_accumulate() -> None:
    x = Tensor([1.0, 2.0, 3.0], requires_grad=True)
    x[[0, 0, 2, -1, 0]].backward(np.array([1.0, 10, 100, 1000, 10000]))
    np.testing.assert_array_equal(x.grad, [10011, 0, 1100])


@pytest.mark.parametrize(
    "key",
    [(slice(None), [0, 0, 1]), (np.array([1, 1]), slice(1, None)), (..., np.array([[2, 2], [0, 2]])), (0, [2, 2])],
)
def test_slices_beside_repeated_integers(key: tuple[Any, ...]) -> None:
    check_op(lambda t: t[key], lambda a: a[key], np.random.default_rng(0).normal(size=(2, 3)))


def test_every_kind_of_key() -> None:
    x = Tensor(np.arange(6.0).reshape(2, 3), requires_grad=True)
    ids = Tensor([1, 0])
    np.testing.assert_array_equal(x[ids].data, x.data[[1, 0]])
    np.testing.assert_array_equal(x[Tensor(1)].data, x.data[1])
    np.testing.assert_array_equal(x[x > 2].data, [3, 4, 5])
    assert x[[]].shape == (0, 3)
    assert x[1, 2].shape == ()
    assert isinstance(x[1, 2].data, np.ndarray)
    assert [row.tolist() for row in x] == x.tolist()


def test_the_key_may_change_after_it_was_used() -> None:
    x, key = Tensor([1.0, 2.0], requires_grad=True), np.array([0, 0])
    y = x[key]
    key[:] = 1
    y.sum().backward()
    np.testing.assert_array_equal(x.grad, [2, 0])


@pytest.mark.parametrize("key", [2, (0, 3), [0, 2], (slice(None), np.array([5])), (0, 0, 0), np.ones((3, 3), bool)])
def test_keys_out_of_range(key: Any) -> None:
    with pytest.raises(IdRangeError, match=r"must fit shape \(2, 3\)"):
        Tensor(np.ones((2, 3)))[key]


@pytest.mark.parametrize("key", [1.0, np.array([0.0, 1.0]), [0.5], Tensor([1.0])])
def test_float_keys(key: Any) -> None:
    with pytest.raises(DTypeError, match=r"must (be an integer|hold integers)"):
        Tensor(np.ones((2, 3)))[key]


def test_writing_into_a_plain_tensor() -> None:
    x = Tensor(np.zeros((2, 3)))
    x[0] = 1.0
    x[:, 1] = Tensor([5.0, 6.0])
    x[Tensor([1]), 2] = 7
    np.testing.assert_array_equal(x.data, [[1, 5, 1], [0, 6, 7]])
    with pytest.raises(IdRangeError, match="must fit shape"):
        x[5] = 0
    with pytest.raises(ShapeError, match="value must fit"):
        x[0] = np.ones(4)


def test_writing_into_a_recorded_tensor_is_refused() -> None:
    leaf = Tensor([1.0, 2.0], requires_grad=True)
    for target, value in ((leaf, 0.0), (leaf * 2, 0.0), (Tensor([0.0]), leaf)):
        with pytest.raises(GraphError, match="in-place"):
            target[0] = value
    with no_grad():
        leaf[0] = 5
    assert leaf.tolist() == [5, 2]


@settings(max_examples=25)
@given(x=arrays(npst.array_shapes(min_dims=2, max_dims=3, min_side=0, max_side=4)), diagonal=st.integers(-3, 3))
def test_triangles(x: np.ndarray, diagonal: int) -> None:
    check_op(lambda t: t.tril(diagonal), lambda a: np.tril(a, diagonal), x)
    check_op(lambda t: t.triu(diagonal), lambda a: np.triu(a, diagonal), x)


@pytest.mark.parametrize("name", ["tril", "triu"])
def test_a_vector_has_no_triangle(name: str) -> None:
    with pytest.raises(ShapeError, match=rf"{name}: a matrix.*got shape \(3,\)"):
        getattr(Tensor(np.ones(3)), name)()
