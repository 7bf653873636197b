"""Comparing and choosing: no gradient through a comparison, and each gradient to the one that was chosen."""

import operator
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst
from strategies import arrays, broadcast_pairs, check_op, shapes, tame

from tinygrad_llm import Tensor, maximum, minimum, where
from tinygrad_llm.errors import ConfigError, DTypeError, ShapeError

COMPARISONS = [operator.eq, operator.ne, operator.lt, operator.le, operator.gt, operator.ge]
quarters = st.integers(-2, 2).map(lambda k: k / 4)


@pytest.mark.parametrize("op", COMPARISONS, ids=lambda op: op.__name__)
@settings(max_examples=25)
@given(pair=broadcast_pairs(quarters))
def test_comparisons(op: Callable[..., Any], pair: tuple[Any, ...]) -> None:
    x, y = pair
    result = op(Tensor(x, requires_grad=True), Tensor(y))
    np.testing.assert_array_equal(result.data, op(x, y), strict=True)
    assert result.dtype == bool
    assert not result.requires_grad


def test_comparing_with_numbers_and_arrays_on_either_side() -> None:
    x = Tensor([1.0, 2.0, 3.0])
    np.testing.assert_array_equal((x > 1.5).data, [False, True, True])
    np.testing.assert_array_equal((1.5 > x).data, [True, False, False])  # noqa: SIM300
    np.testing.assert_array_equal((np.array([1.0, 5.0, 3.0]) == x).data, [True, False, True])
    with pytest.raises(ShapeError, match=r"\(3,\) and \(2,\)"):
        x == np.ones(2)  # noqa: B015


def test_not() -> None:
    np.testing.assert_array_equal((~(Tensor([1.0, 2.0]) > 1)).data, [True, False])
    with pytest.raises(DTypeError, match="must be boolean; got int64"):
        ~Tensor([1, 2])


def apart(pair: tuple[Any, ...]) -> tuple[np.ndarray, np.ndarray]:
    """Nowhere equal: y on a grid that x is not on."""
    return pair[0], pair[1] + 1 / 32


@pytest.mark.parametrize(("op", "reference"), [(maximum, np.maximum), (minimum, np.minimum)])
@settings(max_examples=25)
@given(pair=broadcast_pairs().map(apart))
def test_the_larger_and_the_smaller(op: Callable[..., Any], reference: np.ufunc, pair: tuple[Any, ...]) -> None:
    check_op(op, reference, *pair)


@pytest.mark.parametrize("op", [maximum, minimum, Tensor.maximum, Tensor.minimum])
def test_a_tie_is_shared_evenly(op: Callable[..., Any]) -> None:
    x, y = Tensor([1.0, 2.0], True), Tensor([1.0, 2.0], True)
    op(x, y).backward(np.array([1.0, 3.0]))
    np.testing.assert_array_equal(x.grad, [0.5, 1.5])
    np.testing.assert_array_equal(y.grad, [0.5, 1.5])


def test_the_larger_of_a_tensor_and_a_number() -> None:
    x = Tensor([-1.0, 2.0], requires_grad=True)
    y = maximum(x, 0)
    assert y.dtype == np.float32
    assert repr(y).endswith("op=maximum)")
    y.sum().backward()
    np.testing.assert_array_equal(x.grad, [0, 1])
    assert minimum(0.0, Tensor([1, -1], dtype=np.float32)).tolist() == [0, -1]


@settings(max_examples=25)
@given(arrays(shapes), st.sampled_from([(-1, 1), (None, 0.5), (0, None), (-0.5, -0.5)]))
def test_clip(x: np.ndarray, ends: tuple[Any, ...]) -> None:
    low, high = ends
    check_op(lambda t: t.clip(low, high), lambda a: np.clip(a, low, high), x)


def test_clip_passes_the_gradient_at_its_bounds() -> None:
    x = Tensor([-2.0, -1.0, 0.0, 1.0, 2.0], requires_grad=True)
    x.clip(-1, 1).sum().backward()
    np.testing.assert_array_equal(x.grad, [0, 1, 1, 1, 0])
    with pytest.raises(ConfigError, match="low must not exceed high; got 2 and 1"):
        x.clip(2, 1)


@settings(max_examples=40)
@given(st.data())
def test_where(data: Any) -> None:
    three = data.draw(npst.mutually_broadcastable_shapes(num_shapes=3, max_dims=3, min_side=0, max_side=3))
    on, left, right = three.input_shapes
    condition = data.draw(npst.arrays(bool, on))
    x, y = data.draw(arrays(left)), data.draw(arrays(right))
    check_op(lambda a, b: where(condition, a, b), lambda a, b: np.where(condition, a, b), x, y)
    np.testing.assert_array_equal(Tensor(x).where(Tensor(condition), y).data, np.where(condition, x, y))


def test_where_hides_what_was_not_chosen() -> None:
    x = Tensor([0.0, 1.0], requires_grad=True)
    where(x > 0, x * 2, np.inf).backward(np.ones(2))
    np.testing.assert_array_equal(x.grad, [0, 2])


def test_where_refuses() -> None:
    with pytest.raises(DTypeError, match="where: the condition must be boolean; got float32; compare first"):
        where(Tensor([1.0]), 1.0, 2.0)
    with pytest.raises(ShapeError, match=r"\(3,\), \(2,\) and \(2,\)"):
        where(np.ones(3, bool), np.ones(2), np.ones(2))


@settings(max_examples=25)
@given(st.data())
def test_masked_fill(data: Any) -> None:
    x = data.draw(arrays(shapes))
    mask = data.draw(
        npst.arrays(
            bool,
            npst.broadcastable_shapes(x.shape, max_dims=x.ndim, max_side=3).filter(
                lambda shape: np.broadcast_shapes(shape, x.shape) == x.shape
            ),
        )
    )
    value = data.draw(tame)
    check_op(lambda t: t.masked_fill(mask, value), lambda a: np.where(mask, value, a), x)


def test_masked_fill_with_infinity_keeps_the_gradient_clean() -> None:
    x = Tensor([[1.0, 2.0]], requires_grad=True)
    y = x.masked_fill(Tensor([[False, True]]), -np.inf)
    assert y.dtype == np.float32
    y.exp().sum().backward()
    np.testing.assert_allclose(x.grad, [[np.e, 0]], rtol=1e-6)


def test_masked_fill_refuses() -> None:
    with pytest.raises(ShapeError, match=r"must broadcast to x's shape \(2,\); got \(3, 2\)"):
        Tensor(np.ones(2)).masked_fill(np.ones((3, 2), bool), 0)
    with pytest.raises(DTypeError, match="boolean"):
        Tensor(np.ones(2)).masked_fill(np.ones(2), 0)


def test_a_bound_must_broadcast_to_x() -> None:
    for bound in (Tensor([1.0, 2.0, 3.0]), Tensor(np.ones((2, 1)))):
        with pytest.raises(ShapeError, match="must broadcast"):
            Tensor([1.0, 2.0]).clip(bound, None)


def test_a_complex_value_fills_a_complex_tensor_alone() -> None:
    mask = np.array([True, False])
    assert Tensor(np.array([1.0, 2.0], complex)).masked_fill(mask, 1j).data.tolist() == [1j, 2.0]
    with pytest.raises(DTypeError, match="must be real"):
        Tensor([1.0, 2.0]).masked_fill(mask, 1j)


def test_a_fraction_as_the_bound_of_integers_stays_a_fraction() -> None:
    assert Tensor([1, 2]).clip(Tensor(np.array(1.5)), None).data.tolist() == [1.5, 2.0]


def test_bounds_and_fillings_in_another_dtype_do_not_change_that_of_x() -> None:
    x, wide = Tensor([-1.0, 0.5]), Tensor(np.array([0.0, 1.0]))
    mask = np.array([True, False])
    for result in (x.clip(wide, None), x.clip(None, wide), x.masked_fill(mask, Tensor(np.array(2.0)))):
        assert result.dtype == np.float32
    with_integers = x.clip(Tensor([0, 0]), None)
    assert (with_integers.tolist(), with_integers.dtype) == ([0.0, 0.5], np.float32)
