"""Every fused op equals its definition, both are right, and `composed_ops` chooses between them."""

import inspect
import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from generated_cases import SMALL_CASES
from hypothesis import given, settings
from hypothesis import strategies as st

from tinygrad_llm import Tensor, ops
from tinygrad_llm.gradcheck import gradcheck
from tinygrad_llm.ops import FUSED, composed_ops
from tinygrad_llm.ops.dispatch import fuses, intercept, interceptable
from tinygrad_llm.study.attention_weights import watch_attention_weights
from tinygrad_llm.verify.op_cases import CASES, Case
from tinygrad_llm.verify.proof import TOLERANCES


def assert_fused_equals_composed(case: Case, dtype: type) -> None:
    pair = FUSED[case.op]
    (y, gradients), (expected, expected_gradients) = case.run(pair.fused, dtype), case.run(pair.composed, dtype)
    for got, right in zip([y, *gradients], [expected, *expected_gradients], strict=True):
        assert got.dtype == right.dtype == dtype
        absolute, relative = TOLERANCES[dtype]
        np.testing.assert_allclose(got, right, atol=absolute, rtol=relative, strict=True)


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("case", CASES, ids=str)
def test_fused_equals_composed(case: Case, dtype: type) -> None:
    assert_fused_equals_composed(case, dtype)


@pytest.mark.parametrize("kept_keys", [0, 10**6])
@pytest.mark.parametrize("case", [c for c in CASES if max(map(np.size, c.inputs)) < 2000], ids=str)
def test_the_size_of_the_pieces_changes_nothing(case: Case, kept_keys: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tinygrad_llm.ops.row_blocks.BLOCK_ELEMENTS", 11)
    monkeypatch.setattr("tinygrad_llm.ops.attention_tiles.QUERY_ROWS", 2)
    monkeypatch.setattr("tinygrad_llm.ops.attention_tiles.TILE_SCORES", 20)
    monkeypatch.setattr("tinygrad_llm.ops.attention_tiles.KEPT_KEYS", kept_keys)
    assert_fused_equals_composed(case, np.float64)


def test_every_fused_op_has_cases() -> None:
    assert {case.op for case in CASES} == set(FUSED) == set(SMALL_CASES)
    names = [str(case) for case in CASES]
    assert len(set(names)) == len(names)


def test_every_fused_op_is_public_and_reads_like_its_definition() -> None:
    for name, (fused, composed) in FUSED.items():
        assert getattr(ops, name).__wrapped__ is fused
        assert composed.__name__ == f"{name}_composed"
        assert inspect.signature(fused) == inspect.signature(composed)


@pytest.mark.parametrize("side", ["fused", "composed"])
@pytest.mark.parametrize("op", sorted(FUSED))
@settings(max_examples=15)
@given(data=st.data())
def test_finite_differences(op: str, side: str, data: Any) -> None:
    case = data.draw(SMALL_CASES[op])
    assert gradcheck(lambda *inputs: case.call(getattr(FUSED[op], side), inputs), case.tensors()).ok


@pytest.mark.parametrize("op", sorted(FUSED))
@settings(max_examples=40)
@given(data=st.data())
def test_fused_equals_composed_in_every_small_case(op: str, data: Any) -> None:
    assert_fused_equals_composed(data.draw(SMALL_CASES[op]), np.float64)


# -- the switch


def definition(x: Tensor) -> Tensor:
    return x + 1


@pytest.fixture
def op(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    monkeypatch.setattr("tinygrad_llm.ops.dispatch.FUSED", {})

    @fuses(definition)
    def shortcut(x: Tensor) -> Tensor:
        """The docstring."""
        return x - 1

    return shortcut


def test_composed_ops_runs_the_definitions(op: Callable[..., Any]) -> None:
    x = Tensor(5.0)
    assert op(x).item() == 4
    with composed_ops():
        assert op(x).item() == 6
        with composed_ops():
            assert op(x).item() == 6
        assert op(x).item() == 6  # leaving the inner block leaves only that
    assert op(x).item() == 4


def test_a_handler_sees_and_changes_calls_and_results(op: Callable[..., Any]) -> None:
    calls = []

    def handler(op_name: str, call: Callable[..., Any], x: Tensor, **options: Any) -> Tensor:
        calls.append((op_name, x.item(), options))
        return call(x * 10, **options) * 2

    with intercept(handler):
        assert op(Tensor(5.0)).item() == 98
    assert op(Tensor(5.0)).item() == 4
    assert calls == [("shortcut", 5.0, {})]


def test_the_innermost_handler_meets_the_call_first(op: Callable[..., Any]) -> None:
    order = []

    def named(name: str) -> Callable[..., Any]:
        def handler(op_name: str, call: Callable[..., Any], *args: Any) -> Tensor:
            order.append(name)
            return call(*args)

        return handler

    with intercept(named("outer")), intercept(named("inner")):
        op(Tensor(5.0))
    assert order == ["inner", "outer"]


@pytest.mark.parametrize("outside", [True, False])
def test_a_replaced_op_is_still_seen(op: Callable[..., Any], outside: bool) -> None:
    seen = []

    def handler(op_name: str, call: Callable[..., Any], *args: Any) -> Tensor:
        seen.append(op_name)
        return call(*args)

    first, second = (composed_ops(), intercept(handler)) if outside else (intercept(handler), composed_ops())
    with first, second:
        assert op(Tensor(5.0)).item() == 6
    assert seen == ["shortcut"]


def test_a_handler_is_removed_by_an_error_and_other_threads_never_see_it(op: Callable[..., Any]) -> None:
    def handler(op_name: str, call: Callable[..., Any], *args: Any) -> None:
        raise ZeroDivisionError

    elsewhere = []
    with pytest.raises(ZeroDivisionError), intercept(handler):
        thread = threading.Thread(target=lambda: elsewhere.append(op(Tensor(5.0)).item()))
        thread.start()
        thread.join()
        op(Tensor(5.0))
    assert elsewhere == [4] == [op(Tensor(5.0)).item()]


def test_an_op_without_a_definition_can_be_intercepted() -> None:
    @interceptable
    def double(x: Tensor) -> Tensor:
        return x * 2

    with composed_ops(), intercept(lambda op_name, call, *args: call(*args) + 1):
        assert double(Tensor(5.0)).item() == 11


def test_attention_weights_pass_every_watcher_the_outermost_first() -> None:
    q = Tensor(np.ones((1, 2, 3, 4), np.float32))
    seen = []

    def watcher(name: str) -> Callable[..., Any]:
        def watch(weights: Tensor) -> Tensor:
            seen.append((name, weights.shape, float(weights.data[0, 0, 0, 0])))
            return weights * 3

        return watch

    with watch_attention_weights(watcher("outer")), watch_attention_weights(watcher("inner")):
        o = ops.scaled_dot_product_attention(q, q, q)
    third = np.float32(1) / np.float32(3)
    assert seen == [("outer", (1, 2, 3, 3), third), ("inner", (1, 2, 3, 3), third * 3)]
    np.testing.assert_allclose(o.data, 9, rtol=1e-6)


def test_composed_ops_is_undone_by_an_error(op: Callable[..., Any]) -> None:
    with pytest.raises(ZeroDivisionError), composed_ops():
        raise ZeroDivisionError
    assert op(Tensor(5.0)).item() == 4


def test_composed_ops_is_of_this_thread_alone(op: Callable[..., Any]) -> None:
    elsewhere = []
    with composed_ops():
        thread = threading.Thread(target=lambda: elsewhere.append(op(Tensor(5.0)).item()))
        thread.start()
        thread.join()
    assert elsewhere == [4]


def test_a_fused_op_keeps_its_name_and_docstring(op: Callable[..., Any]) -> None:
    assert (op.__name__, op.__doc__) == ("shortcut", "The docstring.")


@pytest.mark.parametrize("op_name", sorted(FUSED))
def test_the_public_op_is_the_fused_one_and_switches(op_name: str) -> None:
    case = next(case for case in CASES if case.op == op_name)
    public = getattr(ops, op_name)
    assert case.call(public, case.tensors()).node.name == op_name
    with composed_ops():
        assert case.call(public, case.tensors()).node.name != op_name
