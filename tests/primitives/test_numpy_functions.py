"""NumPy's functions on Tensors: those that we have differentiate, the others refuse what needs a gradient."""

from typing import Any

import numpy as np
import pytest

from tinygrad_llm import Tensor, no_grad
from tinygrad_llm.errors import AnomalyError, DTypeError, GraphError

X = np.array([[1.0, 2.0], [3.0, 4.0]])

DIFFERENTIATE = {
    "concatenate": lambda np, x: np.concatenate([x, x], axis=1),
    "stack": lambda np, x: np.stack([x, x]),
    "where": lambda np, x: np.where(X > 2, x, 0.0),
    "dot": lambda np, x: np.dot(x, x),
    "exp": lambda np, x: np.exp(x),
    "log": lambda np, x: np.log(x),
    "multiply": lambda np, x: np.multiply(x, X),
    "subtract": lambda np, x: np.subtract(X, x),
    "matmul": lambda np, x: np.matmul(X, x),
    "maximum": lambda np, x: np.maximum(x, 2.5),
    "power": lambda np, x: np.power(x, 3),
    "sum": lambda np, x: np.sum(x, axis=0),
    "mean": lambda np, x: np.mean(x),
    "max": lambda np, x: np.max(x, axis=1, keepdims=True),
    "reshape": lambda np, x: np.reshape(x, (4,)),
    "transpose": lambda np, x: np.transpose(x),
    "clip": lambda np, x: np.clip(x, 1.5, None),
    "swapaxes": lambda np, x: np.swapaxes(x, 0, 1),
    "expand_dims": lambda np, x: np.expand_dims(x, 0),
    "an array on the left": lambda np, x: X * x + X @ x - X / x,
}


@pytest.mark.parametrize("name", DIFFERENTIATE)
def test_a_function_that_we_have_differentiates(name: str) -> None:
    x = Tensor(X, requires_grad=True)
    y = DIFFERENTIATE[name](np, x)
    assert isinstance(y, Tensor) and y.node is not None
    np.testing.assert_allclose(y.data, DIFFERENTIATE[name](np, X))
    y.backward(np.ones(y.shape))
    step = 1e-6
    slope = (DIFFERENTIATE[name](np, X + step).sum() - DIFFERENTIATE[name](np, X - step).sum()) / (2 * step)
    np.testing.assert_allclose(x.grad.sum(), slope, rtol=1e-6)


REFUSE = {
    "einsum": lambda x: np.einsum("ij->i", x),
    "sin": lambda x: np.sin(x),
    "prod": lambda x: np.prod(x),
    "linalg.norm": lambda x: np.linalg.norm(x),
    "add.reduce": lambda x: np.add.reduce(x),
    "add into an array": lambda x: np.add(X, x, out=np.ones((2, 2))),
    "asarray": lambda x: np.asarray(x),
    "array": lambda x: np.array([x, x]),
    "std": lambda x: np.std(x),
}


@pytest.mark.parametrize("name", REFUSE)
def test_any_other_refuses_a_tensor_that_needs_a_gradient(name: str) -> None:
    x = Tensor(X, requires_grad=True)
    with pytest.raises(GraphError, match=r"the gradient|x\.detach\(\)"):
        REFUSE[name](x)


@pytest.mark.parametrize("name", ["einsum", "sin", "prod", "linalg.norm", "add.reduce", "asarray", "std"])
def test_tensors_without_a_graph_are_accepted_as_arrays(name: str) -> None:
    expected = REFUSE[name](X)
    np.testing.assert_array_equal(REFUSE[name](Tensor(X)), expected)
    with no_grad():
        np.testing.assert_array_equal(REFUSE[name](Tensor(X, requires_grad=True)), expected)


def test_what_has_no_gradient_anyway() -> None:
    x = Tensor(X, requires_grad=True)
    assert np.shape(x) == (2, 2) and np.ndim(x) == 2
    assert np.zeros_like(x).sum() == 0
    assert np.array_equal(x, X) and np.allclose(x, X)


def test_the_refusal_names_our_function() -> None:
    with pytest.raises(GraphError, match=r"numpy\.einsum would lose .* use `einsum` of Tensor or of tinygrad_llm"):
        np.einsum("ij->i", Tensor(X, requires_grad=True))
    with pytest.raises(GraphError, match="use `cat` of Tensor"):
        np.hstack([Tensor(X, requires_grad=True)])


def test_where_of_a_condition_alone_gives_indices() -> None:
    assert [indices.tolist() for indices in np.where(Tensor([0.0, 2.0, 3.0]))] == [[1, 2]]


def test_a_numpy_function_that_would_lose_the_gradient_is_named() -> None:
    x = Tensor([1.0, 2.0], requires_grad=True)
    with pytest.raises(GraphError, match=r"numpy\.cbrt would lose"):
        np.cbrt(x)
    with pytest.raises(GraphError, match=r"numpy\.add\.accumulate would lose"):
        np.add.accumulate(x)


def test_an_array_of_a_tensor_is_a_copy_only_where_asked() -> None:
    x = Tensor([1.0, 2.0])
    assert np.shares_memory(np.asarray(x), x.data) and np.shares_memory(np.array(x, copy=False), x.data)
    assert not np.shares_memory(np.array(x, copy=True), x.data)


def test_transpose_takes_the_axes_by_name_by_position_or_none() -> None:
    x = Tensor(np.zeros((2, 3, 4)))
    shapes = [np.transpose(x).shape, np.transpose(x, (0, 2, 1)).shape, np.transpose(x, axes=(0, 2, 1)).shape]
    assert shapes == [(4, 3, 2), (2, 4, 3), (2, 4, 3)]


OPERATORS = {
    "and": (lambda x, y: x & y, [12, 5]),
    "or": (lambda x, y: x | y, [12, 5]),
    "xor": (lambda x, y: x ^ y, [12, 5]),
    "remainder": (lambda x, y: x % y, [12, 5]),
    "floor division": (lambda x, y: x // y, [12, 5]),
    "shift": (lambda x, y: x << y, [12, 5]),
}


@pytest.mark.parametrize("name", OPERATORS)
def test_operators_without_a_method_of_their_own_give_tensors(name: str) -> None:
    operator, numbers = OPERATORS[name]
    x, y = np.array(numbers), np.array([2, 3])
    for left, right in ((Tensor(x), Tensor(y)), (Tensor(x), y), (x, Tensor(y)), (Tensor(x), 3), (12, Tensor(y))):
        z = operator(left, right)
        plain = [value.data if isinstance(value, Tensor) else value for value in (left, right)]
        assert isinstance(z, Tensor) and z.tolist() == operator(*plain).tolist()


@pytest.mark.parametrize(
    "write", [lambda x: np.add.at(x, [0], 1.0), lambda x: np.put(x, [0], 1.0), lambda x: np.add(x, 1.0, out=x)]
)
def test_what_numpy_writes_counts_as_a_write(write: Any) -> None:
    w, x = Tensor([1.0, 2.0], requires_grad=True), Tensor([3.0, 4.0])
    y = w * x
    write(x)
    with pytest.raises(GraphError, match="was written in place after the forward"):
        y.sum().backward()


def test_masks_are_combined_in_place() -> None:
    mask = both = Tensor([True, False, True])
    both &= Tensor([True, True, False])
    assert both is mask and mask.tolist() == [True, False, False]


def test_the_remainder_differentiates_as_an_operator_too() -> None:
    x = Tensor([5.5, -1.0], requires_grad=True)
    (x % 2.0 * Tensor([1.0, 3.0])).sum().backward()
    assert x.grad.tolist() == [1.0, 3.0]


def test_operators_refuse_with_errors_of_ours() -> None:
    with pytest.raises(DTypeError, match="&: both sides must be booleans or integers; got float32"):
        Tensor([1.0]) & Tensor([2.0])
    with pytest.raises(DTypeError, match=r"numpy\.left_shift: NumPy has no form of it"):
        Tensor([1.0]) << 2
    with pytest.raises(AnomalyError, match="floor_divide: integers must not be divided by 0"):
        Tensor([1]) // 0
    assert (Tensor([1.0]) // 0.0).tolist() == [np.inf]
