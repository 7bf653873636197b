"""`list`, `show`, and the newest run as the default of --model."""

import json
import os
from pathlib import Path

import pytest
from tiny_base import call, make_base
from training_process import SIZES, TEXT

from tinygrad_llm.cli import main


@pytest.fixture
def runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Path:
    """Three runs in runs/: an old trained one, a new untrained one, and a damaged one."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "text.txt").write_text(TEXT)
    assert main(["train", "text.txt", *SIZES, "--steps", "4", "--out", "runs/old"]) == 0
    make_base(tmp_path / "runs" / "new")
    damaged = tmp_path / "runs" / "damaged"
    damaged.mkdir()
    (damaged / "config.json").write_text("{")
    for age, name in enumerate(("new", "damaged", "old")):
        for file in (tmp_path / "runs" / name).iterdir():
            os.utime(file, (1e9 - age, 1e9 - age))
    return tmp_path / "runs"


def test_the_list_has_a_row_for_each_run_newest_first(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, printed, errors = call(capsys, "list")
    lines = printed.splitlines()
    assert code == 0 and errors == [] and max(map(len, lines[:4])) <= 80
    assert [line.split()[0] for line in lines[:4]] == ["run", "runs/new", "runs/damaged", "runs/old"]
    assert "4/4" in lines[3] and "gpt" in lines[3] and "damaged" in lines[2]
    assert lines[4].startswith("runs/damaged cannot be read: ")
    code, printed, _ = call(capsys, "list", "--json")
    facts = [json.loads(line) for line in printed.splitlines()]
    assert facts[2]["step"] == 4 and facts[2]["made_by"] == "train" and facts[2]["validation_loss"] > 0


def test_there_may_be_no_runs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, printed, _ = call(capsys, "list", tmp_path)
    assert code == 0 and "holds no runs; make one: tinygrad-llm train --out" in printed
    code, _, (line,) = call(capsys, "list", tmp_path / "none")
    assert code == 2 and "there is no folder" in line


def test_a_command_takes_the_newest_run_and_says_so(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, _, errors = call(capsys, "generate", "The", "--max-new-tokens", "2", "--seed", "1")
    assert code == 0 and errors == ["--model runs/new (the newest run)"]
    code, _, errors = call(capsys, "classify", "predict", "a text")
    assert code == 2 and "run folder of a classifier; runs holds none: `tinygrad-llm classify train`" in errors[0]


def test_show_has_layers_settings_and_the_loss_curve(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, printed, _ = call(capsys, "show", "runs/old")
    assert code == 0 and max(map(len, printed.splitlines())) <= 80
    for part in ("blocks.*.attention.query.weight", "16×16", "memory: weights", "embedding_dim 16", "steps 4"):
        assert part in printed
    assert "training loss" in printed and "█" in printed
    code, printed, _ = call(capsys, "show")
    assert code == 0 and printed.startswith("runs/new: a GPT of ")
    code, _, (line,) = call(capsys, "show", "--config")
    assert code == 2 and "no training to repeat" in line
