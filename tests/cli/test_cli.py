"""The command line: exit codes, messages, and whole runs from text to text."""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import time
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from training_process import TINY_RUN

import tinygrad_llm
from tinygrad_llm.cli import Parser, build_parser, main
from tinygrad_llm.train.parallel import processes, workers

TEXT = "The quick brown fox jumps over the lazy dog, again and again.\nHow quickly daft jumping zebras vex!\n" * 40
SMALL = [
    *TINY_RUN,
    "--steps",
    "6",
    "--warmup-steps",
    "2",
    "--eval-interval",
    "3",
]


@pytest.fixture
def text(tmp_path: Path) -> Path:
    path = tmp_path / "text.txt"
    path.write_text(TEXT)
    return path


@pytest.fixture
def run(tmp_path: Path, text: Path, capsys: pytest.CaptureFixture[str]) -> tuple[Any, ...]:
    """A finished run of six steps, and what it printed."""
    out = tmp_path / "run"
    assert main(["train", "--data", str(text), "--tokenizer", "char", "--out", str(out), *SMALL]) == 0
    return out, capsys.readouterr().out


def error_of(capsys: pytest.CaptureFixture[str], *argv: Any) -> tuple[Any, ...]:
    """The exit code and the one line on stderr."""
    code = main(list(argv))
    lines = capsys.readouterr().err.strip().splitlines()
    assert len(lines) == 1, lines
    return code, lines[0]


def test_training_prints_its_progress_and_the_next_commands(run: tuple[Any, ...]) -> None:
    out, printed = run
    assert "step 6/6 | loss" in printed and "validation" in printed and "perplexity" in printed
    assert "nats per token" in printed and "bits per byte" in printed
    assert f"train --resume --out {out} --steps 12" in printed
    assert f"generate --model {out}" in printed


def test_the_workers_of_a_run_are_started_once(
    tmp_path: Path, text: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its evaluations are those workers' work too, the last one included."""
    begun = list[int]()

    class Noted(processes.Processes):
        def __init__(self, *args: Any) -> None:
            begun.append(args[2])
            super().__init__(*args)

    monkeypatch.setattr(workers, "Processes", Noted)
    arguments = ["train", "--data", str(text), "--tokenizer", "char", "--out", str(tmp_path / "run"), *SMALL]
    assert main([*arguments, "--workers", "2"]) == 0
    assert begun == [2]
    assert "nats per token" in capsys.readouterr().out


def test_the_run_folder_holds_all_that_a_run_has_made(run: tuple[Any, ...]) -> None:
    out, _ = run
    config = json.loads((out / "config.json").read_text())
    assert config["model"]["embedding_dim"] == 16 and config["training"]["steps"] == 6
    assert {"model.safetensors", "metrics.jsonl", "checkpoints"} <= {path.name for path in out.iterdir()}
    records = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    assert [record["step"] for record in records] == [1, 2, 3, 4, 5, 6]
    assert records[-1].keys() == {
        *("step", "train_loss", "val_loss", "learning_rate", "grad_norm", "tokens_per_second", "seconds")
    }
    model, tokenizer = tinygrad_llm.load(out)
    assert not model.training and tokenizer.decode(tokenizer.encode("quick")) == "quick"


@pytest.mark.parametrize("tokenizer", ["bpe", "words"])
def test_other_tokenizers_train_and_write(
    tmp_path: Path, text: Path, capsys: pytest.CaptureFixture[str], tokenizer: str
) -> None:
    size = ["--vocab-size", "280"] if tokenizer == "bpe" else []
    argv = ["train", "--data", str(text), "--tokenizer", tokenizer, *size, "--out", str(tmp_path / "run"), *SMALL]
    assert main(argv) == 0
    capsys.readouterr()
    assert main(["generate", "--model", str(tmp_path / "run"), "--prompt", "The quick", "--max-new-tokens", "5"]) == 0
    assert capsys.readouterr().out.startswith("The quick")


def test_generation_is_seeded_and_greedy_at_temperature_0(
    run: tuple[Any, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    out, _ = run

    def written(*options: Any) -> str:
        assert main(["generate", "--model", str(out), "--prompt", "The ", "--max-new-tokens", "20", *options]) == 0
        return capsys.readouterr().out

    assert written("--seed", "1", "--temperature", "2") == written("--seed", "1", "--temperature", "2")
    assert written("--seed", "1", "--temperature", "2") != written("--seed", "2", "--temperature", "2")
    assert written("--temperature", "0", "--seed", "1") == written("--temperature", "0", "--seed", "2")
    assert written("--top-k", "1", "--seed", "3") == written("--temperature", "0")


def test_resuming_repeats_the_flags_extends_and_says_when_finished(
    run: tuple[Any, ...], text: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out, _ = run
    again = ["train", "--data", str(text), "--tokenizer", "char", "--out", str(out), *SMALL, "--resume"]
    assert main(again) == 0
    assert "finished" in capsys.readouterr().out
    assert main(["train", "--resume", "--out", str(out), "--steps", "8"]) == 0
    printed = capsys.readouterr().out
    assert "continuing after step 6" in printed and "step 8/8" in printed
    assert json.loads((out / "config.json").read_text())["training"]["steps"] == 8


def test_a_run_in_two_processes_is_the_run_in_one(
    tmp_path: Path, text: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    common = ["--data", str(text), "--tokenizer", "char", *SMALL, "--dropout", "0.1"]
    assert main(["train", *common, "--out", str(tmp_path / "one")]) == 0
    assert main(["train", *common, "--out", str(tmp_path / "two"), "--stop-at", "4"]) == 0
    assert "stopped after step 4" in capsys.readouterr().out
    assert main(["train", "--resume", "--out", str(tmp_path / "two")]) == 0
    one, two = (tinygrad_llm.load(tmp_path / name)[0].state_dict() for name in ("one", "two"))
    for name in one:
        np.testing.assert_array_equal(one[name], two[name])


def test_resume_refuses_what_would_change_the_run(
    run: tuple[Any, ...], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out, _ = run
    code, line = error_of(capsys, "train", "--resume", "--out", str(out), "--learning-rate", "0.5")
    assert code == 2 and "--learning-rate was 0.006, got 0.5" in line
    code, line = error_of(capsys, "train", "--resume", "--out", str(out), "--embedding-dim", "32")
    assert code == 2 and "--embedding-dim was 16, got 32" in line
    (tmp_path / "text.txt").write_text(TEXT + "more")
    code, line = error_of(capsys, "train", "--resume", "--out", str(out), "--steps", "9")
    assert code == 2 and "has changed" in line


def test_an_existing_run_is_not_overwritten(
    run: tuple[Any, ...], text: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out, _ = run
    before = (out / "model.safetensors").read_bytes()
    code, line = error_of(capsys, "train", "--data", str(text), "--tokenizer", "char", "--out", str(out), *SMALL)
    assert code == 2 and "--resume" in line and "--out" in line
    assert (out / "model.safetensors").read_bytes() == before


def test_a_flipped_byte_in_the_weights_is_found(run: tuple[Any, ...], capsys: pytest.CaptureFixture[str]) -> None:
    out, _ = run
    data = bytearray((out / "model.safetensors").read_bytes())
    data[-3] ^= 64
    (out / "model.safetensors").unlink()
    (out / "model.safetensors").write_bytes(data)
    code, line = error_of(capsys, "generate", "--model", str(out), "--prompt", "x")
    assert code == 1 and "model.safetensors" in line and "changed" in line


@pytest.mark.parametrize(
    "argv, code, message",
    [
        (["--data", "no/such/file.txt"], 2, "no/such/file.txt"),
        (["--preset", "huge"], 2, "the presets of a GPT are"),
        (["--num-heads", "5"], 2, "--embedding-dim must be a multiple of --num-heads"),
        (["--batch-size", "-1"], 2, "--batch-size must be an integer of at least 1"),
        (["--learning-rate", "inf"], 2, "--learning-rate must be a finite number"),
        (["--dropout", "1.5"], 2, "dropout must be a probability"),
        (["--seed", "-5"], 2, "--seed must be an integer in [0, 4294967296)"),
        (["--keep", "0"], 2, "--keep must be at least 1"),
        (["--tokenizer", "char", "--vocab-size", "300"], 2, "--vocab-size is for --tokenizer bpe"),
        (["--resume"], 2, "no run folder"),
    ],
)
def test_misuse_is_one_line_and_exit_code_2(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], argv: list[str], code: int, message: str
) -> None:
    got, line = error_of(capsys, "train", "--out", str(tmp_path / "new"), *argv)
    assert got == code and message in line
    assert not (tmp_path / "new" / "config.json").exists()


@pytest.mark.parametrize(
    "content, message",
    [(b"", "empty"), (b"  \n \n", "white space"), (b"ab\xff\xfecd", "UTF-8"), (b"too short", "tokens")],
)
def test_unusable_texts_are_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], content: bytes, message: str
) -> None:
    path = tmp_path / "bad.txt"
    path.write_bytes(content)
    argv = ["train", "--data", str(path), "--tokenizer", "char", "--out", str(tmp_path / "new"), *SMALL]
    code, line = error_of(capsys, *argv)
    assert code == 2 and message in line


def test_generate_names_the_invalid_argument(
    run: tuple[Any, ...], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out, _ = run
    code, line = error_of(capsys, "generate", "--model", str(tmp_path / "none"))
    assert code == 2 and "no run folder" in line
    code, line = error_of(capsys, "generate", "--model", str(out), "--prompt", "ß")
    assert code in (1, 2) and "ß" in line
    code, line = error_of(capsys, "generate", "--model", str(out), "--temperature", "-1")
    assert code == 2 and "temperature" in line
    code, line = error_of(capsys, "generate", "--model", str(out), "--max-new-tokens", "-1")
    assert code == 2 and "--max-new-tokens" in line


def test_a_warning_is_one_line(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr("tinygrad_llm.cli.help.run", lambda arguments: warnings.warn("no worker", stacklevel=1) or 0)
    assert main(["help"]) == 0
    assert capsys.readouterr().err == "warning: no worker\n"


def test_debug_shows_where_an_error_came_from(tmp_path: Path) -> None:
    with pytest.raises(tinygrad_llm.errors.DataError):
        main(["train", "--debug", "--data", "no/such/file.txt", "--out", str(tmp_path / "new")])


def unexplained(parser: Parser, command: str = "") -> Iterator[None]:
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for name, inner in action.choices.items():
                yield from unexplained(inner, f"{command} {name}")
        elif not action.help:
            yield command, action.dest


def test_every_flag_of_every_command_is_explained() -> None:
    assert list(unexplained(build_parser())) == []


def test_the_module_and_the_console_script_are_one_program() -> None:
    shown = subprocess.run([sys.executable, "-m", "tinygrad_llm", "--help"], capture_output=True, text=True, check=True)
    assert "train" in shown.stdout and "generate" in shown.stdout


@pytest.mark.skipif(os.name != "posix", reason="sends a signal")
def test_ctrl_c_in_mid_training_saves_and_exits_130(tmp_path: Path, text: Path) -> None:
    out = tmp_path / "run"
    command = [sys.executable, "-m", "tinygrad_llm", "train", "--data", str(text), "--tokenizer", "char"]
    command += ["--out", str(out), *SMALL, "--steps", "100000", "--eval-interval", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        deadline = time.monotonic() + 300
        while not (out / "metrics.jsonl").exists() and time.monotonic() < deadline:
            time.sleep(0.05)
        process.send_signal(signal.SIGINT)
        printed, errors = process.communicate(timeout=300)
    assert process.returncode == 130, errors
    assert "interrupted; saved after step" in printed and f"train --resume --out {out}" in printed
    assert errors == ""
    assert (out / "model.safetensors").exists()
