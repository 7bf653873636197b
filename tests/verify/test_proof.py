"""The verification of gradients covers every primitive, op, layer and model, and finds wrong gradients."""

from typing import Any

import numpy as np
import pytest
from wrong_gradient import broken

from tinygrad_llm import nn, ops, primitives
from tinygrad_llm.architectures import ARCHITECTURES
from tinygrad_llm.cli import main
from tinygrad_llm.ops.dispatch import FUSED, FusedOp
from tinygrad_llm.verify import proof
from tinygrad_llm.verify.model_cases import CACHES, CONTAINERS, LAYERS, MODEL_LOSSES, model_cases
from tinygrad_llm.verify.op_cases import CASES
from tinygrad_llm.verify.primitive_cases import NO_GRADIENT, PRIMITIVES


def test_every_primitive_op_layer_and_model_has_a_case() -> None:
    families = [value for value in vars(primitives).values() if isinstance(value, type)]
    methods = {name for family in families for name, value in vars(family).items() if callable(value)}
    public = {name for name in methods if not name.startswith("_")} | {"getitem", "cat", "stack"}
    assert set(PRIMITIVES) | NO_GRADIENT == public
    assert {case.op for case in CASES} == set(FUSED)
    layers = {name for name in nn.__all__ if isinstance(getattr(nn, name), type)}
    assert set(LAYERS) == layers - CONTAINERS - CACHES
    assert set(model_cases()) == set(ARCHITECTURES) >= set(MODEL_LOSSES)


@pytest.mark.parametrize("name", PRIMITIVES)
def test_every_primitive_has_a_source(name: str) -> None:
    assert "/primitives/" in proof._source_of(proof.primitive(name))


@pytest.mark.parametrize("name", ["matmul", "getitem", "cat", "rms_norm", "FeedForward", "RotaryPositions"])
def test_gradients_are_right(name: str) -> None:
    for one in proof.prove(name):
        assert one.ok, one.problem
        assert one.slopes > 0
        assert one.worst_slope < 1e-6


@pytest.mark.slow
def test_the_gradients_of_a_model_are_right() -> None:
    one = next(one for one in proof.prove("gpt") if one.name == "gpt")
    assert one.ok, one.problem
    assert one.slopes > 500


def test_a_wrong_gradient_is_reported_with_exit_code_1(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(FUSED, "silu", broken("silu", 1.001))
    (one,) = proof.prove("silu")
    assert "1.001 times what it should be" in one.problem
    assert "fused and composed differ" in one.problem
    assert main(["gradcheck", "silu"]) == 1
    out, err = capsys.readouterr()
    assert "WRONG" in out
    assert err == "tinygrad-llm gradcheck: 1 of 1 are wrong: silu\n"


def test_an_error_in_an_op_is_a_problem_of_its_row(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_args: Any, **_kwargs: Any) -> None:
        raise ValueError("no such thing")

    monkeypatch.setitem(FUSED, "silu", FusedOp(fails, ops.silu))
    (one,) = proof.prove("silu")
    assert "ValueError: no such thing" in one.problem


def test_an_op_without_a_case_is_wrong(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(FUSED, "something_new", FUSED["silu"])
    (one,) = proof.prove("something_new")
    assert not one.ok


def test_nan_is_equal_to_nan_only() -> None:
    nan, one = np.array([np.nan, 1.0]), np.array([1.0, 1.0])
    assert proof._difference([nan], [one], np.float64) == (np.inf, True)
    assert proof._difference([nan], [nan], np.float64) == (0.0, False)
    assert proof._difference([None], [one], np.float64)[1]


@pytest.mark.slow
def test_all_gradients_are_right() -> None:
    assert [one for one in proof.prove() if not one.ok] == []
