"""Every fused op equals its definition, both are right, and `composed_ops` chooses between them."""

import threading

import numpy as np
import pytest
from generated_cases import SMALL_CASES
from hypothesis import given, settings
from hypothesis import strategies as st

from tinygrad_llm import Tensor, ops
from tinygrad_llm.gradcheck import gradcheck
from tinygrad_llm.ops import FUSED, composed_ops
from tinygrad_llm.ops.fusion import fuses
from tinygrad_llm.verify.op_cases import CASES, Case
from tinygrad_llm.verify.proof import ALLOWED


def assert_fused_equals_composed(case: Case, dtype: type) -> None:
    pair = FUSED[case.op]
    (y, gradients), (expected, expected_gradients) = case.run(pair.fused, dtype), case.run(pair.composed, dtype)
    for got, right in zip([y, *gradients], [expected, *expected_gradients], strict=True):
        assert got.dtype == right.dtype == dtype
        absolute, relative = ALLOWED[dtype]
        np.testing.assert_allclose(got, right, atol=absolute, rtol=relative, strict=True)


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("case", CASES, ids=str)
def test_fused_equals_composed(case: Case, dtype: type) -> None:
    assert_fused_equals_composed(case, dtype)


@pytest.mark.parametrize("case", [c for c in CASES if max(map(np.size, c.inputs)) < 2000], ids=str)
def test_the_size_of_the_pieces_changes_nothing(case: Case, monkeypatch) -> None:
    monkeypatch.setattr("tinygrad_llm.ops.blocks.BLOCK_ELEMENTS", 11)
    monkeypatch.setattr("tinygrad_llm.ops.activation.BLOCK_ELEMENTS", 11)
    monkeypatch.setattr("tinygrad_llm.ops.attention.QUERY_ROWS", 2)
    monkeypatch.setattr("tinygrad_llm.ops.attention.TILE_SCORES", 20)
    assert_fused_equals_composed(case, np.float64)


def test_every_fused_op_has_cases() -> None:
    assert {case.op for case in CASES} == set(FUSED) == set(SMALL_CASES)
    names = [str(case) for case in CASES]
    assert len(set(names)) == len(names)


def test_every_fused_op_is_public_and_reads_like_its_definition() -> None:
    for name, (fused, composed) in FUSED.items():
        assert getattr(ops, name).__wrapped__ is fused
        assert composed.__name__ == f"{name}_composed"
        assert fused.__annotations__ == composed.__annotations__
        assert fused.__defaults__ == composed.__defaults__


@pytest.mark.parametrize("side", ["fused", "composed"])
@pytest.mark.parametrize("op", sorted(FUSED))
@settings(max_examples=15)
@given(data=st.data())
def test_finite_differences(op: str, side: str, data) -> None:
    case = data.draw(SMALL_CASES[op])
    assert gradcheck(lambda *inputs: case.call(getattr(FUSED[op], side), inputs), case.tensors()).ok


@pytest.mark.parametrize("op", sorted(FUSED))
@settings(max_examples=40)
@given(data=st.data())
def test_fused_equals_composed_in_every_small_case(op: str, data) -> None:
    assert_fused_equals_composed(data.draw(SMALL_CASES[op]), np.float64)


# -- the switch


def definition(x: Tensor) -> Tensor:
    return x + 1


@pytest.fixture
def op(monkeypatch):
    monkeypatch.setattr("tinygrad_llm.ops.fusion.FUSED", {})

    @fuses(definition)
    def shortcut(x: Tensor) -> Tensor:
        """The docstring."""
        return x - 1

    return shortcut


def test_composed_ops_runs_the_definitions(op) -> None:
    x = Tensor(5.0)
    assert op(x).item() == 4
    with composed_ops():
        assert op(x).item() == 6
        with composed_ops():
            assert op(x).item() == 6
        assert op(x).item() == 6  # leaving the inner block leaves only that
    assert op(x).item() == 4


def test_composed_ops_is_undone_by_an_error(op) -> None:
    with pytest.raises(ZeroDivisionError), composed_ops():
        raise ZeroDivisionError
    assert op(Tensor(5.0)).item() == 4


def test_composed_ops_is_of_this_thread_alone(op) -> None:
    elsewhere = []
    with composed_ops():
        thread = threading.Thread(target=lambda: elsewhere.append(op(Tensor(5.0)).item()))
        thread.start()
        thread.join()
    assert elsewhere == [4]


def test_a_fused_op_keeps_its_name_and_docstring(op) -> None:
    assert (op.__name__, op.__doc__) == ("shortcut", "The docstring.")


@pytest.mark.parametrize("op_name", sorted(FUSED))
def test_the_public_op_is_the_fused_one_and_switches(op_name: str) -> None:
    case = next(case for case in CASES if case.op == op_name)
    public = getattr(ops, op_name)
    assert case.call(public, case.tensors()).node.name == op_name
    with composed_ops():
        assert case.call(public, case.tensors()).node.name != op_name
