"""The gated delta rule: chunks equal the recurrence, gradients included; the state continues a text."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tinygrad_llm import Tensor
from tinygrad_llm.errors import ConfigError, ShapeError
from tinygrad_llm.functions import gated_delta_rule, gated_delta_rule_recurrent, inverse_of_unit_lower
from tinygrad_llm.testing import check_gradient


def operands(seed: int, length: int, heads: int = 2, key: int = 3, value: int = 4) -> list[Any]:
    rng = np.random.RandomState(seed)
    q, k = rng.normal(size=(2, 2, heads, length, key))
    k /= np.linalg.norm(k, axis=-1, keepdims=True)
    v = rng.normal(size=(2, heads, length, value))
    return [q, k, v, -rng.exponential(size=v.shape[:-1]), rng.uniform(size=v.shape[:-1])]


def by_hand(q: Any, k: Any, v: Any, log_decay: Any, rate: Any) -> Any:
    """One head, in plain loops."""
    state, outputs = np.zeros((q.shape[-1], v.shape[-1])), []
    for t in range(len(q)):
        state = np.exp(log_decay[t]) * state
        state = state + rate[t] * np.outer(k[t], v[t] - state.T @ k[t])
        outputs.append(state.T @ q[t])
    return np.array(outputs), state


def test_the_recurrence_by_hand() -> None:
    given_arrays = operands(0, 6)
    outputs, state = gated_delta_rule_recurrent(*given_arrays)
    for row in np.ndindex(2, 2):
        expected, last = by_hand(*(x[row] for x in given_arrays))
        np.testing.assert_allclose(outputs.data[row], expected, rtol=1e-12)
        np.testing.assert_allclose(state.data[row], last, rtol=1e-12)


@settings(max_examples=30)
@given(st.integers(0, 1000), st.integers(0, 40), st.sampled_from([1, 2, 7, 32]))
def test_chunks_equal_the_recurrence(seed: int, length: int, chunk: int) -> None:
    given_arrays = operands(seed, length)
    state = np.random.RandomState(seed).normal(size=(2, 2, 3, 4))
    for result, expected in zip(
        gated_delta_rule(*given_arrays, state, chunk), gated_delta_rule_recurrent(*given_arrays, state), strict=True
    ):
        assert result.shape == expected.shape
        np.testing.assert_allclose(result.data, expected.data, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("chunk", [1, 4, 9])
def test_their_gradients_are_equal_too(chunk: int) -> None:
    gradients = []
    weights = np.random.RandomState(1).normal(size=(2, 2, 9, 4))
    for rule in (gated_delta_rule_recurrent, lambda *x: gated_delta_rule(*x, chunk=chunk)):
        inputs = [Tensor(x, requires_grad=True) for x in (*operands(3, 9), np.ones((2, 2, 3, 4)))]
        outputs, state = rule(*inputs)
        ((outputs * weights).sum() + (state * state).sum()).backward()
        gradients.append([x.grad for x in inputs])
    for one, other in zip(*gradients, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-9, atol=1e-11)


def test_gradients_by_finite_differences() -> None:
    small = [x[:1, :1] for x in operands(5, 4, key=2, value=2)]
    check_gradient(lambda *x: gated_delta_rule_recurrent(*x)[0], *small)
    check_gradient(lambda *x: gated_delta_rule(*x, chunk=3)[0], *small)


def test_equal_keys_do_not_blow_up_in_float32() -> None:
    """The corrections are solved for: a sum of powers of the coupling would cancel numbers of 10¹⁷ here."""
    q, k, v, g, rate = (x.astype(np.float32) for x in operands(0, 64))
    k[...] = k[:, :, :1]
    g[...], rate[...] = 0.0, 1.0
    outputs, _ = gated_delta_rule(q, k, v, g, rate, chunk=64)
    expected, _ = gated_delta_rule_recurrent(*(x.astype(np.float64) for x in (q, k, v, g, rate)))
    np.testing.assert_allclose(outputs.data, expected.data, rtol=1e-3, atol=1e-4)


def test_the_state_continues_a_text() -> None:
    arrays = operands(7, 11)
    whole, last = gated_delta_rule(*arrays, chunk=4)
    first, state = gated_delta_rule(*(x[:, :, :5] for x in arrays), chunk=4)
    rest, state = gated_delta_rule(*(x[:, :, 5:] for x in arrays), state, chunk=4)
    np.testing.assert_allclose(np.concatenate([first.data, rest.data], axis=2), whole.data, rtol=1e-10)
    np.testing.assert_allclose(state.data, last.data, rtol=1e-10)


@given(st.integers(0, 1000), st.integers(1, 6))
def test_the_inverse_and_its_gradient(seed: int, size: int) -> None:
    x = np.random.RandomState(seed).normal(size=(2, size, size))
    product = (np.tril(x, -1) + np.eye(size)) @ inverse_of_unit_lower(x).data
    np.testing.assert_allclose(product, np.broadcast_to(np.eye(size), product.shape), atol=1e-9)
    if size < 4:
        check_gradient(inverse_of_unit_lower, x)


def test_refusals() -> None:
    arrays = operands(0, 5)
    with pytest.raises(
        ShapeError, match=r"gated_delta_rule: keys must be \(2, 2, 5, 3\) to match .*; got \(2, 2, 4, 3\)"
    ):
        gated_delta_rule(arrays[0], arrays[1][:, :, :4], *arrays[2:])
    with pytest.raises(ShapeError, match=r"state must be \(2, 2, 3, 4\)"):
        gated_delta_rule(*arrays, np.zeros((3, 4)))
    with pytest.raises(ConfigError, match="chunk must be an integer of at least 1; got 0"):
        gated_delta_rule(*arrays, chunk=0)
    with pytest.raises(ShapeError, match=r"x must be \(..., T, T\); got \(2, 3\)"):
        inverse_of_unit_lower(np.zeros((2, 3)))
