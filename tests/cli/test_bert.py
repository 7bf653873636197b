"""`bert`: trained on a text, stopped, resumed, and asked for hidden words."""

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tiny_base import call, make_base, printed_by

from tinygrad_llm.formats import read_safetensors
from tinygrad_llm.models import Bert
from tinygrad_llm.train import load

SIZES = ["--embedding-dim", "32", "--num-layers", "1", "--context-length", "16", "--vocab-size", "300"]
STEPS = [
    "--steps",
    "60",
    "--eval-interval",
    "30",
    "--warmup-steps",
    "10",
    "--learning-rate",
    "0.01",
    "--batch-size",
    "8",
]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("data") / "text.txt"
    path.write_text(
        "".join(
            f"the {animal} sat on the {place}. "
            for animal in ("cat", "dog", "cow", "hen")
            for place in ("mat", "wall", "chair", "roof")
            for _ in range(8)
        )
    )
    return path


def train_arguments(data: Path, out: Path) -> list[Any]:
    return ["bert", "train", "--data", data, *SIZES, *STEPS, "--out", out]


@pytest.fixture(scope="module")
def training(data: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A run folder, and what the command that made it printed."""
    run = tmp_path_factory.mktemp("runs") / "run"
    return run, printed_by(*train_arguments(data, run))


@pytest.fixture(scope="module")
def trained(training: tuple[Path, str]) -> Path:
    return training[0]


def test_trains_and_reports_the_masked_tokens(training: tuple[Path, str]) -> None:
    run, printed = training
    assert "masked tokens of the validation text: loss" in printed and "bert fill --model" in printed
    report = json.loads((run / "report.json").read_text())
    assert report["after"]["loss"] < report["before"]["loss"]
    model, tokenizer = load(run)
    first, last = (tokenizer.special_tokens[name] for name in ("[CLS]", "[SEP]"))
    assert isinstance(model, Bert) and tokenizer.framed([5]) == [first, 5, last]
    assert report["before"]["right"] > 0  # by frequency alone, before any step


def test_stops_and_resumes_as_if_never_stopped(
    data: Path, trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    stopped = tmp_path / "stopped"
    assert call(capsys, *train_arguments(data, stopped), "--stop-at", "20")[0] == 0
    code, _, errors = call(capsys, "bert", "train", "--resume", "--out", stopped)
    assert (code, errors) == (0, [])
    first, second = (read_safetensors(path / "model.safetensors") for path in (trained, stopped))
    assert all(np.array_equal(first[name], second[name]) for name in first)


def test_arguments_and_lines_of_stdin_are_filled_alike(
    trained: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    text = "the cat [MASK] on the [MASK]."
    code, printed, errors = call(capsys, "bert", "fill", "--model", trained, "--top-k", "2", text)
    assert (code, errors) == (0, [])
    filled, *guesses = printed.splitlines()
    assert filled.startswith("the cat") and "[MASK]" not in filled and len(guesses) == 2
    monkeypatch.setattr("sys.stdin", io.StringIO(text + "\n"))
    assert call(capsys, "bert", "fill", "--model", trained, "--top-k", "2")[1] == printed


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["train", "--data", "{folder}"], "it is a folder"),
        (["train", "--data", "{folder}/none"], "there is none of that name"),
        (["train", "--data", "{data}", "--context-length", "100000"], "--context-length 100000 needs more than"),
        (["train", "--data", "{data}", "--context-length", "2"], "--context-length must be an integer of at least 3"),
        (["train", "--mask-share", "0"], "--mask-share must be a number in (0, 1]; got 0.0"),
        (["train", "--mask-share", "nan"], "--mask-share must be a number in (0, 1]; got nan"),
        (["train", "--embedding-dim", "-4"], "--embedding-dim must be an integer of at least 1; got -4"),
        (["train", "--embedding-dim", "4000000"], "GB of memory to be trained"),
        (["train", "--data", "{data}", "--vocab-size", "3"], "--vocab-size must be an integer of at least 260; got 3"),
        (["fill", "--model", "{run}", "no mask"], "must have at least one [MASK]"),
        (
            ["fill", "--model", "{run}", "--top-k", "-1", "[MASK]"],
            "fill: --top-k must be an integer of at least 1; got -1",
        ),
        (["fill", "--model", "{folder}", "[MASK]"], "is no run folder"),
        (["fill", "--model", "{gpt}", "[MASK]"], "--model must be a BERT;"),
    ],
)
def test_misfitting_arguments_are_one_line_of_error(
    arguments: list[str], message: str, data: Path, trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    places = {"folder": str(tmp_path), "data": str(data), "run": str(trained), "gpt": str(tmp_path / "gpt")}
    if "{gpt}" in arguments:
        make_base(tmp_path / "gpt")
    given = [argument.format(**places) for argument in arguments]
    if "train" in given:
        given += ["--out", str(tmp_path / "out")]
    code, _, errors = call(capsys, "bert", *given)
    assert (code, len(errors)) == (2, 1) and message in errors[0], errors


def test_a_run_of_another_command_is_not_resumed(trained: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for command in (["train"], ["translate", "train"]):
        code, _, errors = call(capsys, *command, "--resume", "--out", trained)
        assert (code, len(errors)) == (2, 1)
        assert f"made by `bert train`: continue it with `tinygrad-llm bert train --resume --out {trained}`" in errors[0]
