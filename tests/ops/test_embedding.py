"""Looking up rows: every form of ids, repeated ids, and ids that are none."""

from contextlib import nullcontext
from typing import Any

import numpy as np
import pytest

from tinygrad_llm import Tensor
from tinygrad_llm.errors import DTypeError, IdRangeError, ShapeError
from tinygrad_llm.graph import Node, observe
from tinygrad_llm.ops import FUSED, embedding

both_sides = pytest.mark.parametrize("side", ["fused", "composed"])
TABLE = np.arange(12, dtype=np.float32).reshape(4, 3)


class Tape:
    """An observer that must see every gradient."""

    def recorded(self, output: Tensor, parents: Any) -> None:
        pass

    def before_backward(self, node: Node, dy: np.ndarray) -> None:
        pass

    def after_backward(self, node: Node, gradients: Any) -> None:
        assert all(gradient is not None for gradient in gradients)


@both_sides
@pytest.mark.parametrize(
    "ids",
    [
        [[3, 0], [0, 1]],
        ((3, 0), (0, 1)),
        np.array([[3, 0], [0, 1]], np.int32),
        np.array([[3, 0], [0, 1]], np.uint16),
        np.array([[3, 0], [0, 1]], np.int64).T.copy().T,
        Tensor([[3, 0], [0, 1]]),
    ],
    ids=["list", "tuple", "int32", "uint16", "transposed", "Tensor"],
)
def test_every_form_of_ids(ids: list[Any] | np.ndarray | tuple[Any, ...], side: str) -> None:
    y = getattr(FUSED["embedding"], side)(ids, Tensor(TABLE))
    np.testing.assert_array_equal(y.data, TABLE[[[3, 0], [0, 1]]], strict=True)


@both_sides
@pytest.mark.parametrize(("ids", "shape"), [(2, (3,)), ([], (0, 3)), ([[], []], (2, 0, 3)), ([[[1]]], (1, 1, 1, 3))])
def test_any_number_of_axes(ids: int | list[Any], shape: tuple[int, ...], side: str) -> None:
    assert getattr(FUSED["embedding"], side)(ids, Tensor(TABLE)).shape == shape


@both_sides
def test_repeated_ids_sum_their_gradients(side: str) -> None:
    table = Tensor(TABLE, requires_grad=True)
    y = getattr(FUSED["embedding"], side)([[1, 3], [3, 3]], table)
    y.backward(np.array([[[1, 2, 3], [10, 20, 30]], [[100, 200, 300], [1000, 2000, 3000]]], np.float32))
    np.testing.assert_array_equal(table.grad, [[0, 0, 0], [1, 2, 3], [0, 0, 0], [1110, 2220, 3330]])
    assert table.grad.dtype == np.float32


@both_sides
@pytest.mark.parametrize("watched", [False, True])
def test_a_table_with_a_gradient_gets_the_sums_added(side: str, watched: bool) -> None:
    table = Tensor(TABLE, requires_grad=True)
    before = table.grad = np.ones((4, 3), np.float32)
    with observe(Tape()) if watched else nullcontext():
        getattr(FUSED["embedding"], side)([1, 3, 3], table).backward(np.full((3, 3), 5, np.float32))
    assert table.grad is before
    np.testing.assert_array_equal(before, [[1] * 3, [6] * 3, [1] * 3, [11] * 3])


def test_a_frozen_table_keeps_its_old_gradient() -> None:
    table, x = Tensor(TABLE, requires_grad=True), Tensor(np.ones((2, 3), np.float32), requires_grad=True)
    table.grad, table.requires_grad = np.ones((4, 3), np.float32), False
    (embedding([1, 3], table) * x).sum().backward()
    np.testing.assert_array_equal(table.grad, np.ones((4, 3)))


def test_a_row_is_a_copy() -> None:
    table = Tensor(TABLE.copy())
    y = embedding([1], table)
    y.data[...] = -1
    np.testing.assert_array_equal(table.data, TABLE)


@both_sides
@pytest.mark.parametrize(
    ("ids", "error", "message"),
    [
        ([0.5], DTypeError, "ids must be integers; got float32; convert with astype"),
        (np.array([1.0]), DTypeError, "ids must be integers; got float64"),
        (Tensor([1.0]), DTypeError, "ids must be integers"),
        ([True], DTypeError, "ids must be integers; got bool"),
        ([[0, 1], [2, 4]], IdRangeError, r"ids must be in \[0, 4\); got 4 at position \(1, 1\)"),
        ([0, -1], IdRangeError, r"got -1 at position \(1,\)"),
        (np.array([0, 65535], np.uint16), IdRangeError, r"got 65535 at position \(1,\)"),
        (np.array([2**63], np.uint64), IdRangeError, f"got {2**63}"),
        (7, IdRangeError, r"got 7 at position \(\)"),
    ],
)
def test_what_is_no_id(ids: list[float] | np.ndarray | Tensor, error: type, message: str, side: str) -> None:
    with pytest.raises(error, match=f"embedding: .*{message}"):
        getattr(FUSED["embedding"], side)(ids, Tensor(TABLE))


@both_sides
@pytest.mark.parametrize("ids", [[[0], [0, 1]], ["a"], [None]])
def test_what_is_no_array(ids: list[Any], side: str) -> None:
    with pytest.raises((ShapeError, DTypeError)):
        getattr(FUSED["embedding"], side)(ids, Tensor(TABLE))


@pytest.mark.parametrize("shape", [(), (4,), (2, 4, 3)])
def test_a_table_that_is_no_matrix(shape: tuple[int, ...]) -> None:
    with pytest.raises(ShapeError, match=r"embedding: weight must be \(V, C\); got \("):
        embedding([0], Tensor(np.ones(shape)))
