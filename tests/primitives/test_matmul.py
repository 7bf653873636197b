"""The matrix product, for every mix of vectors, matrices and batches."""

import operator
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst
from strategies import arrays, check_op

from tinygrad_llm import Tensor
from tinygrad_llm.errors import ShapeError

signature = npst.mutually_broadcastable_shapes(signature=np.matmul.signature, max_dims=2, min_side=0, max_side=3).map(
    lambda shapes: shapes.input_shapes
)


@settings(max_examples=80)
@given(st.data())
def test_every_shape_that_numpy_multiplies(data: Any) -> None:
    left, right = data.draw(signature)
    check_op(operator.matmul, operator.matmul, data.draw(arrays(left)), data.draw(arrays(right)))


@pytest.mark.parametrize(
    ("left", "right"),
    [
        ((3,), (3,)),
        ((3,), (3, 2)),
        ((2, 3), (3,)),
        ((4, 2, 3), (3,)),
        ((3,), (4, 3, 2)),
        ((4, 2, 3), (3, 5)),
        ((2, 3), (4, 3, 5)),
        ((4, 1, 2, 3), (5, 3, 2)),
        ((0, 3), (3, 2)),
    ],
)
def test_each_kind_of_operands(left: tuple[Any, ...], right: tuple[Any, ...]) -> None:
    numbers = np.random.default_rng(0)
    check_op(operator.matmul, operator.matmul, numbers.normal(size=left), numbers.normal(size=right))


def test_arrays_on_either_side() -> None:
    x = Tensor(np.eye(2, dtype=np.float32), requires_grad=True)
    left = np.array([[1, 2], [3, 4]], np.float32)
    for product in (left @ x, x @ left, x.matmul(left)):
        assert isinstance(product, Tensor)
        np.testing.assert_array_equal(product.data, left)
        product.sum().backward()
    np.testing.assert_array_equal(x.grad, np.array([[4, 4], [6, 6]]) + 2 * np.array([[3, 7], [3, 7]]))


def test_nothing_is_computed_for_an_operand_that_wants_no_gradient() -> None:
    x, y = Tensor(np.ones((2, 3)), requires_grad=True), Tensor(np.ones((3, 2)))
    z = x @ y
    assert z.node.backward(np.ones((2, 2)))[1] is None
    assert y.grad is None


@pytest.mark.parametrize(
    ("left", "right", "message"),
    [
        ((), (2, 2), "at least one axis"),
        ((2, 3), (2, 3), r"last axis of x.*\(2, 3\) and \(2, 3\)"),
        ((2,), (3,), "last axis of x"),
        ((2, 2, 3), (3, 3, 2), "leading axes must broadcast"),
    ],
)
def test_shapes_that_do_not_fit(left: tuple[Any, ...], right: tuple[Any, ...], message: str) -> None:
    with pytest.raises(ShapeError, match=message):
        Tensor(np.ones(left)) @ Tensor(np.ones(right))
