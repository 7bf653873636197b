"""The command gradcheck: its table, page and JSON, exit codes, wrong arguments."""

import json
from pathlib import Path

import pytest
from wrong_gradient import broken

from tinygrad_llm.cli import main
from tinygrad_llm.ops.dispatch import FUSED


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    page = tmp_path / "proof.html"
    assert main(["gradcheck", "silu", "--html", str(page)]) == 0
    out = capsys.readouterr().out
    assert "slopes in" in out and out.rstrip().endswith("all right")
    assert "<h1>All 1 are right</h1>" in page.read_text("utf-8")
    assert main(["gradcheck", "silu", "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert said["ok"] and said["proofs"][0]["name"] == "silu"


@pytest.mark.parametrize("arguments", [["nonsense"], ["silu", "--html", "/nowhere/at/all.html"], ["--html", "."]])
def test_misuse_is_one_line(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["gradcheck", *arguments]) == 2
    assert capsys.readouterr().err.count("\n") == 1


@pytest.mark.slow
def test_what_is_printed_fits_80_columns(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setitem(FUSED, "silu", broken("silu", 1.001))
    for name in ("scaled_dot", "MultiHeadLatent", "silu"):
        main(["gradcheck", name])
        assert max(map(len, capsys.readouterr().out.splitlines())) <= 80
