"""`search`: rungs, survivors and the table from the command line, resumed after a death at any point."""

from __future__ import annotations

import json
import shutil
import signal
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from tiny_base import call
from training_process import PROGRAM, TEXT, TINY_RUN, held, start

from tinygrad_llm.cli import main
from tinygrad_llm.runs.pretraining import DEFAULT_TRAINING
from tinygrad_llm.runs.search_record import SearchRecord, steps_of
from tinygrad_llm.train.trainer import Trainer

SMALL = [*TINY_RUN, "--tokenizer", "char", "--eval-batches", "1", "--steps", "8", "--workers", "1"]
VARY = ["--vary", "learning_rate=log:1e-3..1e-1", "--vary", "dropout=0,0.1", "--trials", "4"]


@pytest.fixture(scope="module")
def text(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("search") / "text.txt"
    path.write_text(TEXT)
    return path


@pytest.fixture(scope="module")
def undisturbed(text: Path) -> Path:
    """The folder of a search that ran from beginning to end."""
    assert main(search(text, text.parent / "whole")) == 0
    return text.parent / "whole"


def search(text: Path, out: Path, *options: str, vary: list[str] = VARY) -> list[str]:
    return ["search", str(text), *SMALL, *vary, "--out", str(out), *options]


def results(out: Path) -> list[Any]:
    """What the search found, without times, and the weights of every run."""
    record = SearchRecord.read(out)
    found = [(trial.settings, run.losses, run.diverged_after) for trial in record.trials for run in trial.runs]
    weights = [(out / run.folder / "model.safetensors").read_bytes() for t in record.trials for run in t.runs]
    return [found, weights]


def test_a_search_halves_its_trials_and_the_best_run_is_that_of_train(
    undisturbed: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = shutil.copytree(undisturbed, tmp_path / "search")
    code, printed, errors = call(capsys, "search", "--resume", "--out", out)
    assert (code, errors) == (0, [])
    record = SearchRecord.read(out)
    assert [(rung.steps, rung.trials) for rung in record.rungs] == [(2, 4), (4, 2), (8, 1)]
    reached = sorted(max(trial.runs[0].losses) for trial in record.trials)
    assert reached == [2, 2, 4, 8]
    best = record.best()
    assert best is not None and best.loss_at(4) == min(trial.loss_at(4) for trial in record.trials)
    table = printed.split("search.json\n")[1].splitlines()
    assert table[0].split() == ["trial", "2", "4", "8", "time", "settings"]
    assert [int(row.split()[0]) for row in table[1:5]] == [trial.number for trial in record.ranked()]
    assert f"best: trial {best.number}, learning_rate {best.settings['learning_rate']}" in printed
    run = out / best.runs[0].folder
    code, toml, _ = call(capsys, "show", run, "--config")
    (tmp_path / "run.toml").write_text(toml)
    assert call(capsys, "train", "--config", tmp_path / "run.toml", "--out", tmp_path / "again")[0] == 0
    assert (tmp_path / "again" / "model.safetensors").read_bytes() == (run / "model.safetensors").read_bytes()
    assert call(capsys, "generate", "--model", run, "--max-new-tokens", "3", "--prompt", "The ")[0] == 0
    assert call(capsys, "train", "--resume", "--out", run, "--steps", "9")[0] == 0


class Killed(BaseException):
    pass


@pytest.mark.parametrize("deaths", [[5, 1, 2], *(pytest.param([saves], marks=pytest.mark.slow) for saves in range(8))])
def test_a_search_that_died_goes_on_without_repeating_a_step(
    text: Path, undisturbed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, deaths: list[int]
) -> None:
    """It dies where a record is about to be written, after the run itself was saved: the latest moment."""
    out, steps, saves, save, take = tmp_path / "parts", 0, 0, SearchRecord.save, Trainer.take_step

    def counted(trainer: Trainer) -> None:
        nonlocal steps
        steps += 1
        take(trainer)

    def dying(record: SearchRecord, folder: Path) -> None:
        nonlocal saves
        saves += 1
        if left and saves > left[0]:
            left.pop(0)
            saves = 0
            raise Killed
        save(record, folder)

    monkeypatch.setattr(Trainer, "take_step", counted)
    monkeypatch.setattr(SearchRecord, "save", dying)
    left = list(deaths)
    words = search(text, out)
    while left:
        with pytest.raises(Killed):
            main(words)
        if (out / "search.json").exists():  # else the same command begins again
            words = ["search", "--resume", "--out", str(out)]
    assert main(words) == 0
    assert results(out) == results(undisturbed)
    assert steps == steps_of(SearchRecord.read(out).rungs)


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="sends signals")
@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGKILL])
def test_signals_at_any_moment_change_no_result(
    text: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], signum: signal.Signals
) -> None:
    options = ["--steps", "40", "--seeds", "2"]  # 160 steps in all
    assert call(capsys, *search(text, tmp_path / "whole", *options))[0] == 0
    out, words = tmp_path / "parts", search(text, tmp_path / "parts", *options)
    for steps in (20, 3, 17, 28, 9):
        before = last_logged(out)
        with start(held([*PROGRAM, *words], steps)) as process:
            while process.poll() is None and last_logged(out) == before:
                time.sleep(0.002)
            process.send_signal(signum)
            process.communicate()
        assert process.returncode == (130 if signum == signal.SIGINT else -signum)
        if (out / "search.json").exists():
            words = ["search", "--resume", "--out", str(out)]
    with start([*PROGRAM, *words]) as process:
        assert process.communicate()[1] == "" and process.returncode == 0
    assert results(out) == results(tmp_path / "whole")


def last_logged(out: Path) -> int:
    """When a run of the search last wrote into its log."""
    return max((log.stat().st_mtime_ns for log in out.glob("*/metrics.jsonl")), default=0)


def test_a_trial_that_diverges_loses_and_seeds_are_compared_by_their_mean(
    text: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out, vary = tmp_path / "search", ["--vary", "learning_rate=1e12,1e-2", "--grid", "--seeds", "2", "--grad-clip", "0"]
    code, printed, errors = call(capsys, *search(text, out, vary=vary))
    assert (code, errors) == (0, [])
    first, second = SearchRecord.read(out).trials
    assert first.diverged_after is not None and not first.runs[1].losses and not first.runs[1].seconds
    assert [run.folder for run in second.runs] == ["trial-02-seed-0", "trial-02-seed-1"]
    assert f"diverged after step {first.diverged_after}" in printed
    assert " over 2 seeds" in printed and f"{second.loss_at(8):.4f}" in printed
    assert second.runs[0].losses != second.runs[1].losses
    hopeless = ["--vary", "learning_rate=1e12,1e11", "--grid", "--grad-clip", "0"]
    code, printed, _ = call(capsys, *search(text, tmp_path / "none", vary=hopeless))
    assert code == 1 and "no trial reached the last rung with a finite loss" in printed


def test_the_plan_trains_nothing(text: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, printed, errors = call(capsys, *search(text, tmp_path / "search", "--plan", "--steps", "10"))
    assert (code, errors) == (0, []) and not (tmp_path / "search").exists()
    lines = printed.splitlines()
    assert [line.split() for line in lines[-6:-2]][1:] == [["1", "4", "3"], ["2", "2", "6"], ["3", "1", "12"]]
    assert lines[-2] == "the last rung has 12 steps: --steps 10 rounded up for whole rungs"
    assert lines[-1].startswith("24 steps in all, 50% of the 48 that training every trial to the end takes")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ([], "--vary names the settings to search"),
        (["--vary", "num_layers"], "--vary must be NAME=VALUES"),
        (["--vary", "num_layer=1,2"], "there is no setting num_layer; did you mean num_layers?"),
        (["--vary", "dropout=0..1.5"], "--vary dropout: values must be finite and in [0, 1); got 1.5"),
        (["--vary", "num_heads=0,2"], "--vary num_heads: values must be finite and of at least 1; got 0"),
        (["--vary", "learning_rate=1e-2..1e-3"], "a range must rise from one finite number to another"),
        (["--vary", "learning_rate=log:0..1"], "a log range must begin above 0"),
        (["--vary", "learning_rate=log:0.1"], "a range must be LOW..HIGH, two numbers; got '0.1'"),
        (["--vary", "tie_weights=0..1"], "--vary tie_weights: values must be true or false; got '0'"),
        (["--vary", "num_layers=1,1"], "the values must differ"),
        (["--vary", "num_layers=one"], "a value must be what --num-layers takes; got 'one'"),
        (["--vary", "vocab_size=300,400"], "losses per token of different texts or tokenizers cannot be compared"),
        (["--vary", "steps=1,2"], "the rungs decide"),
        (["--vary", "min_learning_rate=0,9", "--grid"], "trial 2 (min_learning_rate 9.0): --min-learning-rate must be"),
        (["--vary", "dropout=0,0.1", "--vary", "dropout=0.2,0.3"], "--vary names each setting once; got dropout twice"),
        (["--vary", "batch_size=2,4"], "a setting either varies or has one value; got --vary and --batch-size"),
        (
            ["--vary", "dropout=0,0.1"],
            "--vary must give at least --trials 8 different trials; it gives 2: lower --trials",
        ),
        (["--vary", "dropout=0..0.1", "--grid"], "a grid needs lists of values; dropout is a range"),
        (["--vary", "dropout=0,0.1", "--grid", "--trials", "2"], "leave out --trials"),
        (["--vary", "dropout=0..0.1", "--trials", "0"], "--trials must be an integer from 1 to 1000; got 0"),
        (["--vary", "dropout=0..0.1", "--factor", "1"], "--factor must be an integer from 2 to 1000; got 1"),
        (["--vary", "dropout=0..0.1", "--trials", "99"], "--steps must be at least 64 for 99 trials in 7 rungs; got 8"),
        (["--vary", "dropout=0..0.1", "--search-seed", "-1"], "--search-seed must be an integer from 0"),
        (["--vary", "dropout=0,0.1", "--grid", "--eval-interval", "3"], "must divide the first rung's 4 steps; got 3"),
        (
            ["--vary", "window=none,4", "--vary", "window_pattern=1:1", "--trials", "2"],
            "--window-pattern needs --window",
        ),
    ],
)
def test_misuse_is_one_line(
    text: Path, tmp_path: Path, options: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    code, _, errors = call(capsys, *search(text, tmp_path / "out", *options, vary=[]))
    assert (code, len(errors)) == (2, 1) and message in errors[0], errors
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("exists", [False, True])
def test_a_search_that_is_refused_leaves_its_folder_as_it_was(
    exists: bool, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    if exists:
        out.mkdir()
    assert "must name at least one file" in call(capsys, *search(tmp_path / "none.txt", out))[2][0]
    assert out.exists() == exists and (not exists or {file.name for file in out.iterdir()} <= {"run.lock"})


def test_the_defaults_are_those_of_train(text: Path, capsys: pytest.CaptureFixture[str]) -> None:
    usual = [*TINY_RUN, "--tokenizer", "char", "--vary", "learning_rate=1e-3,1e-2", "--trials", "2", "--plan"]
    assert f"    2       1   {DEFAULT_TRAINING.steps:,}" in call(capsys, "search", str(text), *usual)[1]
    with pytest.raises(SystemExit):
        main(["search", "--help"])
    assert f"(default: {DEFAULT_TRAINING.optimizer})" in " ".join(capsys.readouterr().out.split())


def test_folders_of_others(text: Path, undisturbed: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "search"
    assert call(capsys, "search", "--resume", "--out", out)[2][0].startswith("tinygrad-llm search: --resume continues")
    out.mkdir()
    (out / "letter.txt").write_text("Dear")
    assert "--out must be a new or an empty folder" in call(capsys, *search(text, out))[2][0]
    (out / "letter.txt").unlink()
    out = shutil.copytree(undisturbed, tmp_path / "copy")
    assert "already holds a search; continue it with --resume" in call(capsys, *search(text, out))[2][0]
    assert "holds a run" in call(capsys, *search(text, out / "trial-01"))[2][0]
    errors = call(capsys, "search", "--resume", "--out", out, "--trials", "3")[2]
    assert "--trials was 4, got 3; start a new search in another --out" in errors[0]
    (out / "search.json").write_text(json.dumps({"version": 1}))
    assert "must be what `search` wrote" in call(capsys, "search", "--resume", "--out", out)[2][0]
