"""Scores into probabilities: the book's numbers, scores of any size, and rows of nothing."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from tinygrad_llm import Tensor
from tinygrad_llm.errors import ShapeError
from tinygrad_llm.ops import FUSED, log_softmax, softmax

both_sides = pytest.mark.parametrize("side", ["fused", "composed"])


@both_sides
def test_the_books_attention_scores(side: str) -> None:
    scores = Tensor([0.9544, 1.4950, 1.4754, 0.8434, 0.7070, 1.0865])
    weights = getattr(FUSED["softmax"], side)(scores)
    np.testing.assert_allclose(weights.data, [0.1385, 0.2379, 0.2333, 0.1240, 0.1082, 0.1581], atol=6e-5)


@both_sides
def test_against_the_formula(side: str) -> None:
    x = np.random.default_rng(0).normal(size=(3, 4, 5))
    for axis in range(-3, 3):
        p = np.exp(x) / np.exp(x).sum(axis=axis, keepdims=True)
        np.testing.assert_allclose(getattr(FUSED["softmax"], side)(Tensor(x), axis).data, p, rtol=1e-13)
        np.testing.assert_allclose(getattr(FUSED["log_softmax"], side)(Tensor(x), axis).data, np.log(p), rtol=1e-13)


@both_sides
@pytest.mark.parametrize("level", [1e4, -1e4, 3e38, float(np.finfo(np.float32).min)])
def test_the_level_of_the_scores_costs_no_digits(side: str, level: float) -> None:
    x = Tensor(np.full(3, level, np.float32), requires_grad=True)
    p = getattr(FUSED["softmax"], side)(x)
    np.testing.assert_array_equal(p.data, np.full(3, 1 / 3, np.float32))
    np.testing.assert_allclose(getattr(FUSED["log_softmax"], side)(x).data, -np.log(3), rtol=1e-6)
    p.backward(np.array([3, 0, 0], np.float32))
    np.testing.assert_allclose(x.grad, [2 / 3, -1 / 3, -1 / 3], rtol=1e-6)


@both_sides
def test_scores_far_apart(side: str) -> None:
    x = Tensor(np.array([1e4, -1e4, -np.inf], np.float32), requires_grad=True)
    log_p = getattr(FUSED["log_softmax"], side)(x)
    np.testing.assert_array_equal(getattr(FUSED["softmax"], side)(x).data, [1, 0, 0])
    np.testing.assert_array_equal(log_p.data, [0, -2e4, -np.inf])
    log_p.backward(np.ones(3, np.float32))
    np.testing.assert_array_equal(x.grad, [-2, 1, 1])


@both_sides
@pytest.mark.parametrize("op", ["softmax", "log_softmax"])
def test_an_empty_row_has_no_probabilities(op: str, side: str) -> None:
    with np.errstate(invalid="ignore"):
        assert np.isnan(getattr(FUSED[op], side)(Tensor(np.full(3, -np.inf))).data).all()


@pytest.mark.parametrize("op", [softmax, log_softmax])
def test_integers_become_float32(op: Callable[..., Any]) -> None:
    assert op(Tensor([1, 2])).dtype == np.float32
    assert op([1, 2]).dtype == np.float32


@both_sides
@pytest.mark.parametrize("op", ["softmax", "log_softmax"])
def test_an_axis_that_is_not_there(op: str, side: str) -> None:
    with pytest.raises(ShapeError, match=rf"{op}: axis must be an integer in \[-2, 2\) for 2 axes; got 2"):
        getattr(FUSED[op], side)(Tensor(np.ones((2, 3))), axis=2)
    with pytest.raises(ShapeError, match="axis"):
        getattr(FUSED[op], side)(Tensor(1.0), axis=1)


@both_sides
@pytest.mark.parametrize("axis", [0, -1])
@pytest.mark.parametrize(("op", "value"), [("softmax", 1.0), ("log_softmax", 0.0)])
def test_a_0d_tensor_is_one_number_along_axis_0(op: str, value: float, axis: int, side: str) -> None:
    x = Tensor(np.float64(3.0), requires_grad=True)
    y = getattr(FUSED[op], side)(x, axis=axis)
    assert (y.shape, y.item()) == ((), value)
    y.backward()
    assert x.grad == 0.0
