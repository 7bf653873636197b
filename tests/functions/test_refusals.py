"""What the functions refuse, and in which words; 0-d Tensors; and numbers at the ends of the range."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from tinygrad_llm import Tensor
from tinygrad_llm import functions as F
from tinygrad_llm.errors import AnomalyError, ConfigError, DTypeError, IdRangeError, ShapeError
from tinygrad_llm.testing import check_error

X = Tensor(np.arange(6.0).reshape(2, 3))
REFUSED = [
    (F.gather, (X, 1, [[0, 3]]), IdRangeError, "index must be in [0, 3); got 3"),
    (F.gather, (X, 1, [[0.5]]), DTypeError, "index must be integers"),
    (F.gather, (X, 1, [0]), ShapeError, "x's axes"),
    (F.gather, (X, 2, [[0]]), ShapeError, "axis must be an integer in [-2, 2)"),
    (F.scatter_add, (X, 1, [[0, 1]], [[1.0]]), DTypeError, "source must be float64"),
    (F.scatter_add, (X, 1, [[0, 1]], np.ones((1, 1))), ShapeError, "at least index's sizes (1, 2)"),
    (F.take_along_axis, (X, [0], 1), ShapeError, "2 axes"),
    (F.topk, (X, 4), ConfigError, "k must be an integer in 0..3"),
    (F.argmin, (np.ones((0, 2)), 0), ShapeError, "at least one element"),
    (F.einsum, ("ij,jk", X), ShapeError, "one group of letters per operand"),
    (F.einsum, ("ij->k", X), ShapeError, "the output must name letters of the operands"),
    (F.einsum, ("ij,ij", X, X.T), ShapeError, "must fit the operands' shapes"),
    (F.einsum, ("i1", X), ShapeError, "subscripts are letters"),
    (F.einsum, ("i", X), ShapeError, "must name each axis"),
    (F.outer, (X, X), ShapeError, "two vectors"),
    (F.repeat_interleave, (X, [1, 2], 1), ShapeError, "one count or 3 of them"),
    (F.repeat_interleave, (X, -1, 1), ConfigError, "at least 0"),
    (F.expand, (X, 3, 3), ShapeError, "does not broadcast"),
    (F.expand, (X, -1, 2, 3), ShapeError, "-1 keeps an axis"),
    (F.chunk, (X, 0), ConfigError, "at least 1"),
    (F.flip, (X, (0, 0)), ShapeError, "named once"),
    (F.roll, (X, (1, 2), 0), ShapeError, "one shift for each axis"),
    (F.diagonal, (X, 0, 1, -1), ShapeError, "two different axes"),
    (F.bitwise_and, (X, X), DTypeError, "booleans or integers"),
    (F.remainder, (Tensor([1, 2]), Tensor([0, 1])), AnomalyError, "must not be divided by 0"),
    (F.softplus, (X, 0.0), ConfigError, "beta must be above 0"),
    (F.norm, (X, float("nan")), ConfigError, "p must be a number"),
    (F.nll_loss, (X, [0, 3]), IdRangeError, "targets must be in [0, 3)"),
    (F.nll_loss, (X, [0, 1], [1.0]), ShapeError, "weight must be (3,)"),
    (F.cross_entropy, (X, np.ones((2, 2))), ShapeError, "the shape of logits (2, 3)"),
    (F.cross_entropy, (X, [0, 1], [1.0, 1.0, 1.0], -100, 2.0), ConfigError, "label_smoothing must be in [0, 1]"),
    (F.mse_loss, (X, X, "median"), ConfigError, "mean, sum, none"),
    (F.mse_loss, (X, np.ones(2)), ShapeError, "broadcast"),
    (F.binary_cross_entropy, (X, X), AnomalyError, "probabilities in [0, 1]"),
    (F.one_hot, ([0, 5], 5), IdRangeError, "ids must be in [0, 5); got 5"),
    (F.layer_norm, (X, 2), ShapeError, "x must end in normalized_shape (2,)"),
    (F.layer_norm, (X, 3, np.ones(2)), ShapeError, "weight must have normalized_shape (3,)"),
]


@pytest.mark.parametrize(("function", "arguments", "error", "says"), REFUSED)
def test_misfitting_arguments_are_refused_with_the_invariant(
    function: Callable[..., Any], arguments: tuple[Any, ...], error: type, says: str
) -> None:
    check_error(function, *arguments, error=error, says=says)


@pytest.mark.parametrize("axis", [0, -1])
def test_a_0d_tensor_has_axis_0_and_minus_1(axis: int) -> None:
    x = Tensor(np.float64(3.0), requires_grad=True)
    assert F.sort(x, axis).values.item() == 3.0
    assert F.argsort(x, axis).item() == 0
    assert F.argmin(x, axis).item() == 0
    assert F.topk(x, 1, axis).indices.item() == 0
    F.gather(x, axis, 0).backward()
    assert x.grad == 1.0
    F.scatter_add(x, axis, 0, Tensor(np.float64(2.0))).backward()
    assert x.grad == 2.0


def test_the_ends_of_the_range_do_not_overflow() -> None:
    far = np.array([-1e4, -50.0, 50.0, 1e4])
    np.testing.assert_allclose(F.softplus(far).data, [0, 1.9287498479639178e-22, 50, 1e4], rtol=1e-12)
    np.testing.assert_allclose(F.logsigmoid(far).data, [-1e4, -50, -1.9287498479639178e-22, 0], rtol=1e-12)
    loss = F.binary_cross_entropy_with_logits(far, np.array([0.0, 0.0, 1.0, 1.0]), reduction="sum")
    assert 0 < loss.item() < 1e-20
    big = Tensor(np.full(4, 1e30, np.float32), requires_grad=True)
    length = F.norm(big)
    assert length.item() == pytest.approx(2e30)
    length.backward()
    np.testing.assert_allclose(big.grad, 0.5)
    np.testing.assert_allclose(F.log1p(1e-20).data, 1e-20)


def test_a_row_of_zeros_has_a_norm_without_a_slope() -> None:
    x = Tensor(np.array([[0.0, 0.0], [3.0, 4.0]]), requires_grad=True)
    F.norm(x, axis=-1).sum().backward()
    np.testing.assert_allclose(x.grad, [[0, 0], [0.6, 0.8]])
    x.zero_grad()
    F.normalize(x).sum().backward()
    assert np.isfinite(x.grad).all()


def test_the_product_with_one_zero_has_a_gradient_there() -> None:
    x = Tensor(np.array([2.0, 0.0, 3.0]), requires_grad=True)
    F.prod(x).backward()
    np.testing.assert_array_equal(x.grad, [0.0, 6.0, 0.0])


def test_nothing_to_predict() -> None:
    assert np.isnan(F.nll_loss(np.zeros((2, 3)), [-100, -100]).item())
    assert F.one_hot(np.zeros((0,), np.int64), 3).shape == (0, 3)


def test_equal_elements_keep_their_order() -> None:
    x = Tensor([2, 1, 2, 1])
    assert F.argsort(x).tolist() == [1, 3, 0, 2]
    assert F.argsort(x, descending=True).tolist() == [0, 2, 1, 3]
    assert F.topk(x, 3).indices.tolist() == [0, 2, 1]


def test_scatter_add_reads_no_more_of_the_source_than_the_index_names() -> None:
    source = Tensor(np.ones((2, 3)), requires_grad=True)
    z = F.scatter_add(np.zeros((2, 2)), 1, [[1, 1]], source)
    np.testing.assert_array_equal(z.data, [[0, 2], [0, 0]])
    z.sum().backward()
    np.testing.assert_array_equal(source.grad, [[1, 1, 0], [0, 0, 0]])
