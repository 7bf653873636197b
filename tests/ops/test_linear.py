"""The affine map: its product, the shapes it takes, and what it does not keep."""

import weakref
from typing import Any

import numpy as np
import pytest

from tinygrad_llm import Tensor
from tinygrad_llm.errors import ShapeError
from tinygrad_llm.ops import FUSED, linear
from tinygrad_llm.ops.linear import ROWS_ALONE, times_table
from tinygrad_llm.ops.row_blocks import BLOCK_ELEMENTS

both_sides = pytest.mark.parametrize("side", ["fused", "composed"])


@both_sides
def test_by_hand(side: str) -> None:
    x = Tensor([[1.0, 2.0], [3.0, 4.0]], requires_grad=True)
    weight = Tensor([[1.0, 0.0], [0.0, -1.0], [2.0, 2.0]], requires_grad=True)
    bias = Tensor([10.0, 20.0, 30.0], requires_grad=True)
    y = getattr(FUSED["linear"], side)(x, weight, bias)
    np.testing.assert_array_equal(y.data, [[11, 18, 36], [13, 16, 44]])
    y.backward(np.array([[1, 0, 0], [0, 1, 1]], np.float32))
    np.testing.assert_array_equal(x.grad, [[1, 0], [2, 1]])
    np.testing.assert_array_equal(weight.grad, [[1, 2], [3, 4], [3, 4]])
    np.testing.assert_array_equal(bias.grad, [1, 1, 1])


@both_sides
def test_integers_become_float32(side: str) -> None:
    y = getattr(FUSED["linear"], side)([[1, 2]], Tensor(np.ones((3, 2), np.float32)))
    assert y.dtype == np.float32
    np.testing.assert_array_equal(y.data, [[3, 3, 3]])


def test_nothing_is_computed_for_an_operand_that_wants_no_gradient() -> None:
    x, weight = np.ones((2, 3)), np.ones((4, 3))
    frozen = linear(Tensor(x, requires_grad=True), Tensor(weight))
    assert frozen.node.backward(np.ones((2, 4)))[1] is None
    first = linear(Tensor(x), Tensor(weight, requires_grad=True))
    assert first.node.backward(np.ones((2, 4)))[0] is None


def test_frozen_weights_let_the_input_go() -> None:
    x = np.ones((2, 3))
    weight, bias = Tensor(np.ones((4, 3))), Tensor(np.ones(4), requires_grad=True)
    alive = weakref.ref(x)
    y = linear(Tensor(x), weight, bias)
    del x
    assert alive() is None
    assert y.node is not None


@pytest.mark.parametrize(
    ("x", "weight", "bias", "message"),
    [
        ((2, 3), (4, 2), (4,), r"weight must be \(4, 3\) to match x \(2, 3\); got \(4, 2\)"),
        ((2, 3), (3,), (3,), r"weight must be \(3, 3\) to match x \(2, 3\); got \(3,\)"),
        ((2, 3), (5, 4, 3), (4,), r"weight must be \(5, 3\) to match x \(2, 3\); got \(5, 4, 3\)"),
        ((2, 3), (4, 3), (3,), r"bias must be \(4,\) to match x \(2, 3\); got \(3,\)"),
        ((2, 3), (4, 3), (1,), r"bias must be \(4,\)"),
        ((2, 3), (4, 3), (2, 4), r"bias must be \(4,\)"),
        ((), (4, 3), (4,), r"x needs at least 1 axes; got shape \(\)"),
    ],
)
def test_shapes_that_do_not_fit(
    x: tuple[Any, ...], weight: tuple[Any, ...], bias: tuple[Any, ...], message: str
) -> None:
    with pytest.raises(ShapeError, match=f"linear: {message}"):
        linear(Tensor(np.ones(x)), Tensor(np.ones(weight)), Tensor(np.ones(bias)))


@pytest.mark.parametrize("count", [0, 1, 2, 8, 9, 17])
@pytest.mark.parametrize("features", [3, 300])
def test_few_rows_go_another_road_in_blocks_of_the_table(count: int, features: int) -> None:
    draws = np.random.default_rng(count)
    rows, table = draws.normal(size=(count, features)), draws.normal(size=(BLOCK_ELEMENTS // features + 7, features))
    y = times_table(rows, table)
    np.testing.assert_allclose(y, rows @ table.T, rtol=1e-12, atol=1e-12)
    if 0 < count <= ROWS_ALONE:
        np.testing.assert_array_equal(y, np.concatenate([times_table(row[None], table) for row in rows]))
    turned = np.asfortranarray(table)  # not in the order in which rows are read
    np.testing.assert_allclose(times_table(rows, turned), y, rtol=1e-12, atol=1e-12)


def test_few_rows_have_the_dtype_of_both() -> None:
    table = np.ones((3, 2), np.float32)
    assert times_table(np.ones((2, 2)), table).dtype == np.float64
    assert times_table(np.ones((2, 2), np.float32), table).dtype == np.float32
    assert times_table(np.ones((2, 0), np.float32), table[:, :0]).tolist() == [[0, 0, 0]] * 2
