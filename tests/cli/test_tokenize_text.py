"""`tokenize`: several tokenizers side by side, the bytes of each token, and the merges that made it."""

import io
import sys
from pathlib import Path

import pytest
from tiny_base import call, make_base

from tinygrad_llm.text import BPETokenizer, CharTokenizer


@pytest.fixture
def runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder runs/ with two runs, and a tokenizer of merges in a run of its own."""
    monkeypatch.chdir(tmp_path)
    make_base(Path("runs/bytes"))
    merged = make_base(Path("runs/merged"))
    BPETokenizer.train("low lower lowest low low", 262).save(merged)
    return tmp_path


def test_tokenizers_side_by_side(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, printed, errors = call(capsys, "tokenize", "low é", "--model", "runs/bytes", "--model", "runs/merged")
    assert (code, errors) == (0, [])
    lines = printed.splitlines()
    assert lines[0] == "5 characters, 6 bytes"
    assert lines[1].split()[:3] == ["runs/bytes", "6", "tokens"] and lines[1].endswith(r"l|o|w|·|\xc3|\xa9")
    assert lines[2].split()[:3] == ["runs/merged", "4", "tokens"] and lines[2].endswith(r"low|·|\xc3|\xa9")
    assert "    0     257  low                  6c 6f 77" in lines or any(
        line.split()[2:] == ["low", "6c", "6f", "77"] for line in lines
    )


def test_merges_in_their_order(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, printed, errors = call(capsys, "tokenize", "low", "--model", "runs/merged", "--merges")
    assert (code, errors) == (0, [])
    steps = [line.split()[2:] for line in printed.splitlines() if line.startswith("  rank")]
    assert [len(parts) for parts in steps] == [2, 1] and steps[-1] == ["low"]


def test_the_newest_run_is_the_default_and_standard_input_the_text(
    runs: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO("low\n"))
    code, printed, _ = call(capsys, "tokenize")
    assert code == 0 and "3 characters, 3 bytes" in printed and "runs/" in printed


def test_refusals(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    CharTokenizer.train("abc").save(make_base(Path("runs/letters")))
    (runs / "broken.json").write_text("{")
    for argv, said in (
        ([""], "TEXT must have at least one character"),
        (["x", "--model", "nowhere"], "there is no such run folder, model or tokenizer.json"),
        (["x", "--model", "broken.json"], "broken.json"),
        (["x", "--model", runs], "must hold a tokenizer"),
        (["abc", "--model", "runs/letters", "--merges"], "--merges needs byte pair encoding"),
        (["x" * 500, "--model", "runs/merged", "--merges"], "--merges shows at most 400 characters; got 500"),
    ):
        code, _, errors = call(capsys, "tokenize", *argv)
        assert code in (1, 2) and said in errors[-1], (said, errors)
