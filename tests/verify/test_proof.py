"""The proof covers everything, holds, and breaks when a gradient is broken."""

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest

from tinygrad_llm import nn, ops, primitives
from tinygrad_llm.architectures import ARCHITECTURES
from tinygrad_llm.cli import main
from tinygrad_llm.graph import record_operation
from tinygrad_llm.ops.dispatch import FUSED, Pair
from tinygrad_llm.verify import proof, proof_report
from tinygrad_llm.verify.model_cases import CACHES, CONTAINERS, LAYERS, MODEL_LOSSES, model_cases
from tinygrad_llm.verify.op_cases import CASES
from tinygrad_llm.verify.primitive_cases import NO_GRADIENT, PRIMITIVES


def test_everything_has_a_case() -> None:
    families = [value for value in vars(primitives).values() if isinstance(value, type)]
    methods = {name for family in families for name, value in vars(family).items() if callable(value)}
    public = {name for name in methods if not name.startswith("_")} | {"getitem", "cat", "stack"}
    assert set(PRIMITIVES) | NO_GRADIENT == public
    assert {case.op for case in CASES} == set(FUSED)
    layers = {name for name in nn.__all__ if isinstance(getattr(nn, name), type)}
    assert set(LAYERS) == layers - CONTAINERS - CACHES
    assert set(model_cases()) == set(ARCHITECTURES) >= set(MODEL_LOSSES)


@pytest.mark.parametrize("name", ["matmul", "rms_norm", "FeedForward", "RotaryPositions"])
def test_it_holds(name: str) -> None:
    for one in proof.prove(name):
        assert one.ok, one.problem
        assert one.slopes > 0
        assert one.worst_slope < 1e-6


def test_a_whole_model_holds() -> None:
    one = next(one for one in proof.prove("gpt") if one.name == "gpt")
    assert one.ok, one.problem
    assert one.slopes > 500


def broken(op: str, factor: float) -> Pair:
    """The op with gradients that are `factor` times what they should be."""

    def fused(*args, **kwargs):
        y = FUSED_BEFORE[op].fused(*args, **kwargs)
        return record_operation(y.data, [y], lambda dy: [dy * factor])

    return Pair(fused, FUSED_BEFORE[op].composed)


FUSED_BEFORE = dict(FUSED)


def test_a_wrong_gradient_is_seen_and_exits_with_1(monkeypatch, capsys) -> None:
    monkeypatch.setitem(FUSED, "silu", broken("silu", 1.001))
    (one,) = proof.prove("silu")
    assert "1.001 times what it should be" in one.problem
    assert "fused and composed differ" in one.problem
    assert main(["gradcheck", "silu"]) == 1
    out, err = capsys.readouterr()
    assert "WRONG" in out
    assert err == "tinygrad-llm gradcheck: 1 of 1 are wrong: silu\n"


def test_an_op_that_fails_is_a_line_of_the_table_not_the_end_of_it(monkeypatch) -> None:
    def fails(*_args, **_kwargs):
        raise ValueError("no such thing")

    monkeypatch.setitem(FUSED, "silu", Pair(fails, ops.silu))
    (one,) = proof.prove("silu")
    assert "ValueError: no such thing" in one.problem


def test_an_op_without_a_case_does_not_count_as_proven(monkeypatch) -> None:
    monkeypatch.setitem(FUSED, "something_new", FUSED["silu"])
    (one,) = proof.prove("something_new")
    assert not one.ok


def test_nan_is_no_agreement() -> None:
    nan, one = np.array([np.nan, 1.0]), np.array([1.0, 1.0])
    assert proof._difference([nan], [one], np.float64) == (np.inf, True)
    assert proof._difference([nan], [nan], np.float64) == (0.0, False)
    assert proof._difference([None], [one], np.float64)[1]


def test_the_command(tmp_path, capsys) -> None:
    page = tmp_path / "proof.html"
    assert main(["gradcheck", "silu", "--html", str(page)]) == 0
    out = capsys.readouterr().out
    assert "slopes in" in out and out.rstrip().endswith("all right")
    assert "<h1>All 1 are right</h1>" in page.read_text("utf-8")
    assert main(["gradcheck", "silu", "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert said["ok"] and said["proofs"][0]["name"] == "silu"


@pytest.mark.parametrize("arguments", [["nonsense"], ["silu", "--html", "/nowhere/at/all.html"], ["--html", "."]])
def test_misuse_is_one_line(arguments, capsys) -> None:
    assert main(["gradcheck", *arguments]) == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_the_page_links_each_row_to_its_source(tmp_path) -> None:
    for name, file, definition in [("silu", "functions/activation.py", "def silu("), ("SiLU", "", "class SiLU(")]:
        (one,) = proof.prove(name)
        path, _, line = one.source.rpartition(":")
        assert definition in "".join(Path(path).read_text("utf-8").splitlines()[int(line) - 1 : int(line) + 1])
        page = proof_report.as_html([one])
        assert f'<a href="{Path(path).as_uri()}#L{line}">tinygrad_llm/' in page and f"{file}:{line}</a>" in page


def test_what_is_printed_fits_80_columns(capsys, monkeypatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setitem(FUSED, "silu", broken("silu", 1.001))
    for name in ("scaled_dot", "MultiHeadLatent", "silu"):
        main(["gradcheck", name])
        assert max(map(len, capsys.readouterr().out.splitlines())) <= 80


def test_the_page_shows_problems_as_text() -> None:
    (one,) = proof.prove("silu")
    page = proof_report.as_html([dataclasses.replace(one, problem="<script>alert(1)</script>")])
    assert "<script" not in page and "1 of 1 are wrong" in page


@pytest.mark.slow
def test_all_of_it_holds() -> None:
    assert [one for one in proof.prove() if not one.ok] == []
