"""The life cycle of a run: what a refusal leaves, what resuming needs, and what a full disk costs."""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from tiny_base import call
from training_process import SIZES, TEXT

from tinygrad_llm.errors import CheckpointError, ConfigError
from tinygrad_llm.runs import hints, life_cycle, run_folder
from tinygrad_llm.runs.plan import RunPlan
from tinygrad_llm.runs.pretraining import TextOptions
from tinygrad_llm.runs.pretraining_report import Sampler
from tinygrad_llm.runs.progress import StatusLine
from tinygrad_llm.settings import SettingError
from tinygrad_llm.text import CharTokenizer
from tinygrad_llm.train import TrainingSettings

Call = Callable[..., tuple[int, str, list[str]]]


@pytest.fixture
def command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Call:
    """Runs a command line in the folder of the test; returns exit code, output and lines on stderr."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "text.txt").write_text(TEXT)
    return lambda *argv: call(capsys, *argv)


TRAIN = ["train", "--data", "text.txt", "--out", "run", *SIZES, "--steps", "6", "--eval-interval", "3"]


@pytest.mark.parametrize("flags", [["--context-length", "99999"], ["--keep", "0"], ["--num-heads", "3"]])
def test_a_refused_run_leaves_nothing(command: Call, flags: list[str]) -> None:
    code, _, errors = command(*TRAIN, *flags)
    assert (code, len(errors)) == (2, 1)
    assert not Path("run").exists()


def test_skipped_bad_steps_end_with_a_word_about_the_loss_and_not_with_figures_of_nan(command: Call) -> None:
    code, output, errors = command(*TRAIN, "--learning-rate", "1e12", "--warmup-steps", "0", "--skip-bad-steps")
    assert (code, errors) == (0, [])
    assert "the validation loss is not finite" in output
    assert "perplexity" not in output and "per byte" not in output


def test_a_refused_run_leaves_a_folder_that_was_there(command: Call) -> None:
    Path("run").mkdir()
    Path("run/notes.txt").write_text("mine")
    assert command(*TRAIN, "--context-length", "99999")[0] == 2
    assert Path("run/notes.txt").read_text() == "mine"


def test_a_run_without_a_checkpoint_may_be_started_again(command: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patched:
        patched.setattr(life_cycle.Trainer, "train", lambda trainer, until=None: 1 / 0)
        code, _, errors = command(*TRAIN)
    assert code == 1 and "ZeroDivisionError" in errors[0] and Path("run/config.json").exists()
    assert command(*TRAIN, "--learning-rate", "0.002")[0] == 0
    assert json.loads(Path("run/config.json").read_text())["training"]["learning_rate"] == 0.002
    code, _, errors = command(*TRAIN)
    assert code == 2 and "already holds a run" in errors[0]


def test_a_run_resumes_from_another_directory_and_without_its_text(command: Call, monkeypatch: Any) -> None:
    assert command(*TRAIN, "--stop-at", "2")[0] == 0
    run = Path("run").resolve()
    (run.parent / "elsewhere").mkdir()
    monkeypatch.chdir(run.parent / "elsewhere")
    code, printed, _ = command("train", "--resume", "--out", run, "--stop-at", "4")
    assert code == 0 and "reading " + str(run.parent / "text.txt") in printed
    (run.parent / "text.txt").unlink()
    code, printed, _ = command("train", "--resume", "--out", run)
    assert code == 0 and "is gone; using its ids" in printed and "step 6/6" in printed
    for file in (run / "ids").glob("*.ids"):
        file.unlink()
    code, _, errors = command("train", "--resume", "--out", run, "--steps", "8")
    assert code == 2 and "text.txt" in errors[0]


def test_a_killed_process_leaves_no_temporary_file_for_long(command: Call) -> None:
    assert command(*TRAIN, "--stop-at", "2")[0] == 0
    leftover = Path("run/.model.safetensors.0123abcd.tmp")
    leftover.write_bytes(b"half")
    assert command("train", "--resume", "--out", "run")[0] == 0
    assert not leftover.exists()


def no_room(*arguments: Any, **named: Any) -> None:
    raise CheckpointError("run/checkpoints: the disk is full") from OSError(errno.ENOSPC, "No space left on device")


def test_training_continues_on_a_full_disk_and_saves_when_there_is_room(
    command: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, calls = run_folder.write_snapshot, []

    def first_full(*arguments: Any, **named: Any) -> Any:
        calls.append(arguments)
        return (no_room if len(calls) < 3 else real)(*arguments, **named)

    monkeypatch.setattr(run_folder, "write_snapshot", first_full)
    monkeypatch.setattr(run_folder, "SECONDS_BETWEEN_ATTEMPTS", 0.0)
    code, printed, errors = command(*TRAIN)
    assert (code, errors) == (0, [])
    assert "the disk is full; training goes on" in printed and "there is room again: saved after step" in printed


def test_a_last_checkpoint_that_finds_no_room_is_an_error(command: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run_folder, "write_snapshot", no_room)
    code, printed, errors = command(*TRAIN)
    assert code == 1 and "the disk is full" in errors[0] and "training goes on" in printed


def test_the_log_keeps_steps_that_a_full_disk_refused(command: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    real, calls = run_folder.MetricsLog.append, []

    def append(log: Any, record: Any) -> None:
        calls.append(record)
        (no_room() if len(calls) < 4 else real(log, record))

    monkeypatch.setattr(run_folder.MetricsLog, "append", append)
    assert command(*TRAIN)[0] == 0
    lines = Path("run/metrics.jsonl").read_text().splitlines()
    assert [json.loads(line)["step"] for line in lines] == [1, 2, 3, 4, 5, 6]


def test_a_picture_never_ends_a_training(command: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run_folder, "can_draw", lambda: True)
    monkeypatch.setattr(run_folder, "draw_losses", lambda *arguments: 1 / 0)
    code, printed, errors = command(*TRAIN)
    assert (code, errors) == (0, []) and "warning: no picture of the losses" in printed


def test_a_sample_never_ends_a_training() -> None:
    sampler = Sampler(CharTokenizer.train("abc"), StatusLine())
    assert sampler.sample(object()).startswith("no sample: ")  # type: ignore[arg-type]


def test_a_text_without_a_line_end_is_sampled_and_judged(command: Call) -> None:
    Path("one-line.txt").write_text("abcdefgh" * 500)
    flags = ["--data", "one-line.txt", "--sample-interval", "2"]
    code, printed, errors = command(*TRAIN, *flags)
    assert (code, errors) == (0, []) and "bits per byte" in printed
    assert "--prompt" not in printed  # "The " is no text that this tokenizer knows


def test_bits_per_byte_are_printed_only_for_tokenizers_that_restore_the_text(command: Call) -> None:
    words = [flag if flag != "char" else "words" for flag in TRAIN]
    code, printed, _ = command(*words)
    assert code == 0 and "bits per byte" not in printed


def test_a_batch_larger_than_the_text_is_reported_with_its_real_size(command: Call) -> None:
    code, printed, _ = command(*TRAIN, "--batch-size", "100000", "--grad-accumulation", "1")
    windows = (int(0.9 * len(TEXT)) - 1) // 32
    assert code == 0 and f"the text has only {windows} windows" in printed
    assert f"6 steps, {6 * windows * 32:,} tokens" in printed


def test_a_run_from_before_there_was_a_choice_goes_on_with_adamw_in_one_process() -> None:
    settings = TrainingSettings(optimizer="muon", workers=2)
    config = RunPlan("", TextOptions(data="a.txt"), settings, "gpt", {"vocab_size": 9}).to_config()
    assert RunPlan.from_config(config, "", TextOptions(), "run").training == settings
    old = {name: value for name, value in config["training"].items() if name not in ("optimizer", "workers")}
    plan = RunPlan.from_config({**config, "training": old}, "", TextOptions(), "run")
    assert (plan.training.optimizer, plan.training.workers) == ("adamw", 1)


def test_a_plan_goes_into_a_config_and_comes_back() -> None:
    options = TextOptions(data="a.txt", tokenizer="char")
    plan = RunPlan("", options, TrainingSettings(steps=3), "gpt", {"vocab_size": 9}, data_sha256="ab")
    config = plan.to_config()
    assert config["tokenizer_vocab_size"] == 4096 and config["data"] == "a.txt" and "options" not in config
    assert RunPlan.from_config(config, "", TextOptions(), "run") == plan
    with pytest.raises(ConfigError, match="made by `train`: continue it with"):
        RunPlan.from_config(config, "classify", TextOptions(), "run")
    with pytest.raises(CheckpointError, match=r"training must be what `train` wrote.*known settings"):
        RunPlan.from_config({**config, "training": {"stops": 3}}, "", TextOptions(), "run")
    with pytest.raises(ConfigError, match=r"--learning-rate was 0\.001, got 0\.5"):
        plan.resumed_with({"learning_rate": 0.5})
    assert plan.resumed_with({"steps": 9, "data": os.path.abspath("a.txt")}).training.steps == 9
    with pytest.raises(SettingError):
        plan.resumed_with({"steps": -1})


def test_a_hint_is_a_command_that_can_be_pasted(monkeypatch: pytest.MonkeyPatch) -> None:
    assert hints.command("train", "--out", "my run") == "tinygrad-llm train --out 'my run'"
    assert hints.command("train", processes=2).startswith("mpiexec -n 2 tinygrad-llm")
    monkeypatch.setattr("sys.argv", ["/opt/my env/bin/tinygrad-llm"])
    assert hints.command("train") == "'/opt/my env/bin/tinygrad-llm' train"


@pytest.mark.parametrize(
    ("processes", "workers", "words"),
    [
        (2, 2, "2 workers share each batch of 16 rows"),
        (3, 1, "3 processes share each batch of 16 rows"),
        (8, 4, "2 processes of 4 workers each share each batch of 16 rows"),
        (20, 20, "20 workers share each batch of 16 rows, and 4 of them have none: use fewer"),
    ],
)
def test_a_run_says_who_shares_a_batch(processes: int, workers: int, words: str) -> None:
    trainer: Any = SimpleNamespace(processes=processes, workers=workers)
    assert life_cycle.sharing(trainer, 16) == words
