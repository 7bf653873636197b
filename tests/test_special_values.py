"""Infinity and NaN: masks select, NaN passes its gradient on, and nothing warns. Figures are PyTorch's unless said."""

import copy
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from tinygrad_llm import Tensor, nn, optim
from tinygrad_llm.errors import DTypeError, GraphError, ShapeError
from tinygrad_llm.functions import rms_norm, silu
from tinygrad_llm.nn import functional as F

inf, nan = np.inf, np.nan


def gradient(function: Callable[..., Any], *numbers: float) -> list[float]:
    x = Tensor(np.array(numbers, np.float64), requires_grad=True)
    function(x).sum().backward()
    return x.grad.tolist()


# -- zero times infinity


@pytest.mark.parametrize(
    ("function", "numbers", "expected"),
    [
        (lambda x: x.relu().sqrt(), [-1.0, 4.0], [0, 0.25]),
        (lambda x: 1 / x.relu(), [-1.0, 2.0], [0, -0.25]),
        (lambda x: x.clip(0, 1).log(), [-1.0, 0.5], [0, 2]),
        (lambda x: x.maximum(0).sqrt(), [-1.0, 4.0], [0, 0.25]),
        (lambda x: x.masked_fill(np.array([True, False]), 0.0).sqrt(), [3.0, 4.0], [0, 0.25]),
        (lambda x: x.where(np.array([False, True]), 0.0).sqrt(), [3.0, 4.0], [0, 0.25]),
        (lambda x: (x.relu() * x.relu()).sum().sqrt() + 0 * x.sum(), [-1.0, 2.0], [0, 1]),
        (lambda x: x.reshape(2, 1).tril().sum(-1).sqrt(), [4.0, 1.0], [0.25, 0.5]),
        (lambda x: x.reshape(1, 2).triu(1).sqrt(), [3.0, 4.0], [0, 0.25]),
    ],
)
def test_a_mask_selects(function: Callable[..., Any], numbers: list[float], expected: list[Any]) -> None:
    np.testing.assert_array_equal(gradient(function, *numbers), expected)


def test_abs_selects_too_where_pytorch_multiplies() -> None:
    np.testing.assert_array_equal(gradient(lambda x: x.abs().sqrt(), 0.0, 4.0), [0, 0.25])  # PyTorch: [nan, 0.25]


def test_dropout_selects() -> None:
    x = Tensor(np.full(64, inf), requires_grad=True)
    y = F.dropout(x, 0.5)
    y.backward(np.full(64, inf))
    assert set(y.data) == {0, inf}
    assert set(x.grad) == {0, inf}
    np.testing.assert_array_equal(y.data == 0, x.grad == 0)


# -- NaN


@pytest.mark.parametrize(
    ("function", "expected"),
    [
        (lambda x: x.max(), [0, 1, 0]),
        (lambda x: x.min(), [0, 1, 0]),
        (lambda x: x.max(axis=0), [0, 1, 0]),
        (lambda x: x.maximum(2.0), [1, 1, 0]),
        (lambda x: x.minimum(2.0), [0, 1, 1]),
        (lambda x: x.relu(), [1, 1, 1]),
        (lambda x: x.clip(0, 2), [0, 1, 1]),  # PyTorch: [0, 0, 1]
        (lambda x: x.abs(), [1, 1, 1]),  # PyTorch: [1, 0, 1]
    ],
)
def test_an_element_that_is_nan_gets_the_gradient(function: Callable[..., Any], expected: list[int]) -> None:
    assert gradient(function, 3.0, nan, 1.0) == expected


def test_two_nans_share_the_gradient_of_max() -> None:
    assert gradient(lambda x: x.max(), nan, 5.0, nan) == [0.5, 0, 0.5]


def test_nan_on_either_side_of_maximum_passes_to_both() -> None:
    x, y = (Tensor(np.array(one), requires_grad=True) for one in ([nan, 1.0, 2.0], [1.0, nan, 2.0]))
    x.maximum(y).sum().backward()
    assert (x.grad.tolist(), y.grad.tolist()) == ([1, 1, 0.5], [1, 1, 0.5])


# -- powers of zero


def test_powers_of_zero() -> None:
    base, exponent = (Tensor(np.array(one), requires_grad=True) for one in ([0.0, 0.0, 0.0], [-1.0, 0.0, 2.0]))
    z = base**exponent
    np.testing.assert_array_equal(z.data, [inf, 1, 0])
    z.sum().backward()
    np.testing.assert_array_equal(base.grad, [-inf, 0, 0])
    np.testing.assert_array_equal(exponent.grad, [-inf, 0, 0])
    np.testing.assert_array_equal((Tensor([0, 2]) ** -1).data, [inf, 0.5])


# -- without warnings (pytest turns every warning into an error)

ENDS = np.array([[-inf, inf, 0.0], [inf, inf, 1.0], [-inf, -inf, -inf], [nan, 1.0, 2.0]])


@pytest.mark.parametrize(
    "function",
    [
        F.softmax,
        F.log_softmax,
        F.gelu,
        lambda x: F.gelu(x, "tanh"),
        silu,
        lambda x: rms_norm(x, Tensor(np.ones(3))),
        lambda x: F.layer_norm(x, Tensor(np.ones(3))),
        lambda x: F.cross_entropy(x, [0, 1, 2, 0]),
        lambda x: F.linear(x, Tensor(np.ones((2, 3)))),
        lambda x: F.scaled_dot_product_attention(x, x, x, is_causal=True),
        lambda x: x + x.detach() * -1 - x / x + x @ np.ones(3).reshape(3, 1),
        lambda x: x.logsumexp(-1) + x.sum(-1) + x.mean(-1) + x.var(-1) + x.max(-1) + x.cumsum(-1)[:, 0],
        lambda x: x.exp().tanh() + x.sigmoid() + x.abs().log().sqrt() + x.erf(),
        lambda x: x.astype(np.float32),
        lambda x: x.clip(-1, 1) + x.relu() + x.maximum(0),
    ],
)
def test_infinite_rows_give_no_warning(function: Callable[..., Any]) -> None:
    x = Tensor(ENDS, requires_grad=True)
    y = function(x)
    y.backward(np.ones(y.shape))
    assert x.grad.shape == x.shape


def test_adamw_without_eps_gives_no_warning() -> None:
    w = nn.Parameter([0.0, 1.0])
    w.grad = np.array([0.0, 1.0], np.float32)
    optim.AdamW([w], eps=0.0, lr=0.1, weight_decay=0.0).step()
    assert np.isnan(w.data[0]) and abs(w.data[1] - 0.9) < 1e-6


# -- integers and booleans


def test_the_smallest_and_largest_of_every_kind_of_integer() -> None:
    for dtype in (np.uint8, np.uint16, np.uint64, np.int8, np.int32, np.int64):
        lowest = np.iinfo(dtype).min
        x = Tensor(np.array([5, lowest, 3], dtype))
        assert (x.min().item(), x.max().item(), x.min().dtype) == (lowest, 5, dtype)
    assert Tensor(np.array([-(2**31), 7], np.int32)).min().item() == -(2**31)
    assert (Tensor([True, False]).min().item(), Tensor([True, False]).max().item()) == (False, True)


# -- lost history


def test_a_list_of_computed_tensors_stays_in_the_graph() -> None:
    x, y = Tensor([1.0, 2.0], requires_grad=True), Tensor([3.0, 4.0], requires_grad=True)
    z = Tensor([x * 2, y])
    assert (z.tolist(), z.dtype) == ([[2, 4], [3, 4]], np.float32)
    (z * z).sum().backward()
    assert (x.grad.tolist(), y.grad.tolist()) == ([8, 16], [6, 8])
    x.grad = None
    Tensor([[x[0], 5.0], [0.0, x[1]]]).sum().backward()
    assert x.grad.tolist() == [1, 1]
    x.grad = None
    Tensor(x * 3, dtype=np.float64).sum().backward()
    assert x.grad.tolist() == [3, 3]
    assert Tensor(x * 3, dtype=np.float64).dtype == np.float64
    assert nn.Parameter([x[0], x[1]]).is_leaf  # it asks for a gradient of its own
    assert Tensor([x.detach(), y.detach()]).is_leaf


def test_values_that_are_tensors_get_their_gradient() -> None:
    x = Tensor(np.array([[1.0, 2.0], [3.0, 4.0]]), requires_grad=True)
    v = Tensor(np.array(5.0), requires_grad=True)
    mask = np.array([[True, False], [True, True]])
    (x.masked_fill(mask, v) * np.array([[1.0, 2.0], [3.0, 4.0]])).sum().backward()
    assert (x.grad.tolist(), v.grad.tolist()) == ([[0, 2], [0, 0]], 8)
    v.grad = x.grad = None
    (x.pad([(1, 0), (0, 1)], v) * 2).sum().backward()
    assert (x.grad.tolist(), v.grad.tolist()) == ([[2, 2], [2, 2]], 10)
    x.grad = None
    low, high = (Tensor(np.array(one), requires_grad=True) for one in ([1.5, 0.0], [9.0, 3.0]))
    x.clip(low, high).sum().backward()
    assert (x.grad.tolist(), low.grad.tolist(), high.grad.tolist()) == ([[0, 1], [1, 0]], [1, 0], [0, 1])


def test_constants_given_as_arrays_are_copied_where_backward_reads_them() -> None:
    x = Tensor(np.array([1.0, 2.0, 3.0]), requires_grad=True)
    mask = np.array([True, False, False])
    y = x.masked_fill(mask, 0.0).sum() + x.where(mask, 0.0).sum()
    mask[:] = True
    y.backward()
    assert x.grad.tolist() == [1, 1, 1]
    ids, targets = np.array([0, 1]), np.array([0, 1])
    table = Tensor(np.zeros((3, 3)), requires_grad=True)
    loss = F.cross_entropy(F.embedding(ids, table), targets)
    ids[:] = targets[:] = 2
    loss.backward()
    np.testing.assert_allclose(table.grad, np.array([[-2, 1, 1], [1, -2, 1], [0, 0, 0]]) / 6)


def test_a_mask_that_is_a_tensor_is_watched() -> None:
    x, mask = Tensor(np.array([1.0, 2.0]), requires_grad=True), Tensor([True, False])
    y = x.masked_fill(mask, 0.0)
    mask[1] = True
    with pytest.raises(GraphError, match="was written in place"):
        y.sum().backward()


# -- errors of ours


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: Tensor([1.0, 2.0]).pad((1, 1)), ShapeError, "one .before, after. pair of counts for each of the 1"),
        (lambda: -Tensor([True]), DTypeError, "negate them with `~x`"),
        (lambda: Tensor([1.0]).masked_fill([True], 1j), DTypeError, "must be real"),
        (lambda: Tensor([1.0]).masked_fill([True], Tensor([1.0, 2.0])), ShapeError, "must broadcast to x's shape"),
        (lambda: Tensor(np.ones(1, np.int32)) + 2**40, DTypeError, "must fit the other operand's int32"),
        (lambda: Tensor(np.ones(1, np.uint8)) + 300, DTypeError, "must fit the other operand's uint8"),
        (lambda: Tensor(np.ones(1)).reshape([1] * 65), ShapeError, "at most 64 axes"),
        (lambda: Tensor(np.ones([1] * 64)).unsqueeze(0), ShapeError, "at most 64 axes"),
        (lambda: Tensor(np.ones(1)).broadcast_to([1] * 65), ShapeError, "does not broadcast"),
        (lambda: copy.deepcopy(Tensor([1.0], requires_grad=True) * 2), GraphError, "copy `x.detach"),
        (lambda: Tensor([1.0]).astype("U5"), DTypeError, "numbers or booleans"),
    ],
)
def test_foreign_errors_are_ours(call: Callable[..., Any], error: type, message: str) -> None:
    with pytest.raises(error, match=message):
        call()


def test_a_deep_copy_of_a_leaf_is_a_leaf_of_its_own() -> None:
    layer = nn.Linear(2, 3)
    layer.weight.grad = np.ones((3, 2), np.float32)
    other = copy.deepcopy(layer)
    assert type(other.weight) is nn.Parameter and other.weight.requires_grad
    assert not np.shares_memory(other.weight.data, layer.weight.data)
    np.testing.assert_array_equal(other.weight.grad, layer.weight.grad)
    other.weight.grad += 1
    assert layer.weight.grad.max() == 1


HUGE = np.array([[1e308, -1e308, 1e308]])


@pytest.mark.parametrize(
    "function",
    [
        lambda x: x + x,
        lambda x: x - -x,
        lambda x: x * x,
        lambda x: x / 1e-308,
        lambda x: x / 0,
        lambda x: x**2,
        lambda x: x @ x.transpose(0, 1),
        lambda x: x.sum(0) * 10 + (x * x).sum(),
        lambda x: x.abs().sum(),
        lambda x: x.abs().mean(),
        lambda x: x.var(),
        lambda x: x.abs().cumsum(-1),
        lambda x: (x * 10).logsumexp(),
        lambda x: x.exp().log(),
        lambda x: x.sqrt().log(),
        lambda x: x.sigmoid(),
        lambda x: x.astype(np.float32),
        lambda x: x.astype(np.float16).astype(np.float64),
    ],
)
def test_numbers_that_overflow_give_no_warning(function: Callable[..., Any]) -> None:
    x = Tensor(HUGE, requires_grad=True)
    y = function(x)
    y.backward(np.full(y.shape, 10.0))
    assert x.grad.shape == x.shape
    assert Tensor(HUGE).astype(np.int32).dtype == np.int32


@pytest.mark.parametrize("write", ["__iadd__", "__isub__", "__imul__", "__itruediv__"])
def test_a_write_in_place_that_overflows_gives_no_warning(write: str) -> None:
    x = Tensor(HUGE.copy())
    getattr(x, write)({"__iadd__": HUGE, "__isub__": -HUGE, "__imul__": HUGE, "__itruediv__": 0 * HUGE}[write])
    assert np.isinf(x.data).all()


@pytest.mark.parametrize("kind", [optim.SGD, optim.Adam, optim.AdamW])
def test_a_gradient_that_overflows_gives_no_warning_in_an_update(kind: Any) -> None:
    w = nn.Parameter([1.0, 1.0, 0.0])
    w.grad = np.array([inf, nan, 0.0], np.float32)
    optimizer = kind([w], lr=0.1)
    optimizer.step()
    assert np.isnan(w.data[1]) and w.data[2] == 0
