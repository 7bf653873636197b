"""`prefer`: from ln 2 and a margin of 0 to wider margins on pairs held out, and the same when stopped and resumed."""

import json
import math
from pathlib import Path

import numpy as np
import pytest
from tiny_base import call, make_base

from tinygrad_llm.formats import read_safetensors

STEPS = ["--style", "phi3", "--steps", "12", "--eval-interval", "6", "--warmup-steps", "2", "--learning-rate", "0.01"]


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_base(tmp_path_factory.mktemp("models") / "base", dropout=0.0)


@pytest.fixture(scope="module")
def pairs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("data") / "pairs.json"
    records = [{"instruction": f"Say {n}.", "chosen": f"It is {n}.", "rejected": f"{n}! GO!"} for n in range(40)]
    path.write_text(json.dumps(records))
    return path


def test_starts_at_ln_2_and_0_and_widens_the_margins_of_held_out_pairs(
    base: Path, pairs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for out, stops in ((tmp_path / "whole", ()), (tmp_path / "parts", (5,))):
        argv = ["prefer", "train", "--model", base, "--data", pairs, "--out", out, *STEPS]
        for stop in stops:
            assert call(capsys, *argv, "--stop-at", stop)[0] == 0
            argv = ["prefer", "train", "--resume", "--out", out]
        code, printed, errors = call(capsys, *argv)
        assert (code, errors) == (0, []) and "reward margin +0.000 -> +" in printed
    report = json.loads((tmp_path / "whole" / "report.json").read_text())
    assert report == json.loads((tmp_path / "parts" / "report.json").read_text())
    for split in ("validation", "test"):
        assert report["before"][split]["loss"] == pytest.approx(math.log(2)) and report["before"][split]["margin"] == 0
        assert report["after"][split]["margin"] > 0.1 and report["after"][split]["accuracy"] == 1
    whole, parts = (read_safetensors(tmp_path / name / "model.safetensors") for name in ("whole", "parts"))
    assert all(np.array_equal(whole[name], parts[name]) for name in whole)


def test_a_run_that_was_stopped_while_it_was_judged_is_judged_when_resumed(
    base: Path, pairs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "run"
    argv = ["prefer", "train", "--model", base, "--data", pairs, "--out", out, "--steps", "2"]
    assert call(capsys, *argv)[0] == 0
    whole = (out / "report.json").read_text()
    report = json.loads(whole)
    del report["after"]
    (out / "report.json").write_text(json.dumps(report))
    for expected in ("reward margin", "is finished: 2 of 2 steps"):
        code, printed, errors = call(capsys, "prefer", "train", "--resume", "--out", out)
        assert (code, errors) == (0, []) and expected in printed
        assert (out / "report.json").read_text() == whole


def test_misfitting_options_are_one_line_of_error(
    base: Path, pairs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lacking = tmp_path / "lacking.json"
    lacking.write_text(json.dumps([{"instruction": "x", "chosen": "y"}]))
    long = tmp_path / "long.json"
    long.write_text(json.dumps([{"instruction": "x" * 500, "chosen": "y", "rejected": "z"}] * 20))
    new = ["--model", base, "--out", tmp_path / "new"]
    for argv, said in (
        (["--out", tmp_path / "new"], "--model must name"),
        (new, "--data must name"),
        ([*new, "--data", lacking], "'rejected' must be text"),
        ([*new, "--data", long], "at least one pair must be left"),
        ([*new, "--data", pairs, "--beta", "0"], "beta must be a finite number above 0"),
        ([*new, "--data", pairs, "--beta", "nan"], "beta must be a finite number above 0"),
    ):
        code, _, errors = call(capsys, "prefer", "train", *argv)
        assert code == 2 and len(errors) == 1 and said in errors[0], (argv, errors)


def test_a_base_that_was_taught_in_a_style_keeps_it(
    pairs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    base, taught = make_base(tmp_path / "base", context_length=256), tmp_path / "taught"
    learning = ["--kinds", "first_word", "--records", "20", "--test-records", "2", "--max-new-tokens", "4"]
    steps = ["--steps", "1", "--batch-size", "2"]
    argv = ["instruct", "train", "--model", base, "--out", taught, "--style", "alpaca", *learning, *steps]
    assert call(capsys, *argv)[0] == 0
    for task, options, expected in (
        ("prefer", ["--data", pairs], "alpaca"),
        ("prefer", ["--data", pairs, "--style", "phi3"], "phi3"),
        ("instruct", learning, "alpaca"),
    ):
        out = tmp_path / f"{task}-{expected}"
        code, _, errors = call(capsys, task, "train", "--model", taught, "--out", out, *options, *steps)
        assert (code, errors) == (0, [])
        assert json.loads((out / "config.json").read_text())["options"]["style"] == expected
