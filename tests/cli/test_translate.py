"""`translate`: an encoder-decoder trained, stopped, resumed and asked, from a file of pairs to lines of text."""

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tiny_base import call, printed_by

from tinygrad_llm.formats import read_safetensors
from tinygrad_llm.models import EncoderDecoder
from tinygrad_llm.train import load

LETTERS = {"a": "one", "b": "two", "c": "three"}
SIZES = ["--embedding-dim", "32", "--num-layers", "1", "--context-length", "24", "--tokenizer", "char"]
STEPS = [
    "--steps",
    "200",
    "--eval-interval",
    "50",
    "--warmup-steps",
    "20",
    "--learning-rate",
    "0.01",
    "--label-smoothing",
    "0",
    "--batch-size",
    "16",
]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("data") / "pairs.tsv"
    words = ["".join(w) for n in (1, 2, 3) for w in np.array(np.meshgrid(*[list(LETTERS)] * n)).T.reshape(-1, n)]
    path.write_text("".join(f"{word}\t{' '.join(LETTERS[letter] for letter in word)}\n" for word in words))
    return path


def train_arguments(data: Path, out: Path) -> list[Any]:
    return ["translate", "train", "--data", data, *SIZES, *STEPS, "--out", out]


@pytest.fixture(scope="module")
def training(data: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A run folder, and what the command that made it printed."""
    run = tmp_path_factory.mktemp("runs") / "run"
    return run, printed_by(*train_arguments(data, run))


@pytest.fixture(scope="module")
def trained(training: tuple[Path, str]) -> Path:
    return training[0]


def test_trains_and_reports_the_held_out_pairs(training: tuple[Path, str]) -> None:
    run, printed = training
    assert "37 pairs to train on, 2 held out" in printed and "step 200/200 | loss" in printed
    report = json.loads((run / "report.json").read_text())
    assert report["after"]["loss"] < 0.5 < report["before"]["loss"]
    assert "held-out pairs: loss" in printed and f"exact matches {report['before']['exact']} -> " in printed
    model, tokenizer = load(run)
    assert isinstance(model, EncoderDecoder) and model.config.vocab_size == tokenizer.vocab_size


@pytest.mark.slow
def test_stops_and_resumes_as_if_never_stopped(
    data: Path, trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    stopped = tmp_path / "stopped"
    assert call(capsys, *train_arguments(data, stopped), "--stop-at", "70")[0] == 0
    code, _, errors = call(capsys, "translate", "train", "--resume", "--out", stopped)
    assert (code, errors) == (0, [])
    first, second = (read_safetensors(path / "model.safetensors") for path in (trained, stopped))
    assert all(np.array_equal(first[name], second[name]) for name in first)


def test_translates_arguments_and_lines_greedily_and_by_beam_search(
    trained: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for beams in ("1", "3"):
        code, printed, errors = call(capsys, "translate", "run", "--model", trained, "--beams", beams, "ab", "c")
        assert (code, errors) == (0, []) and printed.splitlines() == ["one two", "three"]
    monkeypatch.setattr("sys.stdin", io.StringIO("ab\n\nc\n"))
    assert call(capsys, "translate", "run", "--model", trained)[1] == printed


def test_shows_the_alignment_of_each_translation(trained: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, printed, errors = call(capsys, "translate", "run", "--model", trained, "--alignment", "b", "c")
    lines = printed.splitlines()
    assert (code, errors) == (0, []) and [lines[0], lines[5]] == ["two", "three"]
    assert lines[1:3] == ["1 b 2 (end)", "       1  2"] and [row.split()[0] for row in lines[3:5]] == ["two", "(end)"]


def test_generates_sentences(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    small = ["--embedding-dim", "8", "--num-layers", "1", "--steps", "1", "--vocab-size", "300", "--pairs", "30"]
    code, printed, errors = call(
        capsys, "translate", "train", "--data", "sentences", "--out", tmp_path, *small, "--context-length", "200"
    )
    assert (code, errors) == (0, []) and "30 pairs to train on, 30 held out, 300 tokens" in printed
    assert call(capsys, "translate", "run", "--model", tmp_path, "--alignment", "She sees the dog.")[::2] == (0, [])
    report = json.loads((tmp_path / "report.json").read_text())
    assert report["after"]["bleu"] == 0 and f"BLEU {100 * report['before']['bleu']:.1f} -> 0.0" in printed


@pytest.mark.slow
def test_makes_up_numbers_where_there_is_no_data(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, printed, errors = call(
        capsys,
        "translate",
        "train",
        "--out",
        tmp_path / "run",
        "--embedding-dim",
        "8",
        "--num-layers",
        "1",
        "--steps",
        "1",
    )
    assert (code, errors) == (0, []) and "1,000,000 pairs to train on, 1,000 held out" in printed


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["train", "--data", "{folder}"], 2, "it is a folder"),
        (["train", "--data", "{folder}/none"], 2, "there is none of that name"),
        (["train", "--data", "{data}", "--held-out", "1"], 2, "--held-out must be a number in (0, 1); got 1.0"),
        (["train", "--data", "{data}", "--held-out", "nan"], 2, "--held-out must be a number in (0, 1); got nan"),
        (
            ["train", "--data", "{data}", "--context-length", "2"],
            2,
            "fewer than 2 tokens, to fit --context-length 2; the shortest has",
        ),
        (["train", "--embedding-dim", "10"], 2, "--embedding-dim must be a multiple of --num-heads; got 10 and 4"),
        (
            ["train", "--batch-size", "3000000", "--embedding-dim", "4096"],
            2,
            "a batch of 1,000,000 sequences",
        ),
        (["train", "--embedding-dim", "4000000"], 2, "GB of memory to be trained"),
        (["train", "--num-layers", "-1"], 2, "--num-layers must be an integer of at least 1; got -1"),
        (["train", "--context-length", "9" * 25], 2, "GB of memory to be trained"),
        (["train", "--schedule", "linear"], 2, "--schedule must be one of cosine, inverse_square_root; got 'linear'"),
        (["train", "--data", "sentences", "--pairs", "2000000"], 2, "--pairs must be at most 1,000,000"),
        (["train", "--vocab-size", "3"], 2, "--vocab-size must be an integer of at least 257; got 3"),
        (["train", "--resume", "--out", "{folder}/none"], 2, "there is no run folder"),
        (["run", "--model", "{run}", "--beams", "9" * 25, "a"], 2, "--beams must be 1 to 256; got 9999"),
        (["run", "--model", "{run}", "--beams", "0", "a"], 2, "--beams must be 1 to 256; got 0"),
        (
            ["run", "--model", "{run}", "--length-penalty", "-1", "a"],
            2,
            "--length-penalty must be a finite number of at least 0; got -1.0: 1 compares",
        ),
        (["run", "--model", "{run}", "--beams", "2", "--length-penalty", "nan", "a"], 2, "--length-penalty must be"),
        (["run", "--model", "{run}", ""], 2, "run: a text must have at least one token; '' has none"),
        (["run", "--model", "{run}", "a" * 24], 2, "has 24: shorten it, or train a model with a larger context length"),
        (["run", "--model", "{folder}", "a"], 2, "is no run folder"),
    ],
)
def test_misfitting_arguments_are_one_line_of_error(
    arguments: list[str],
    code: int,
    message: str,
    data: Path,
    trained: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    places = {"folder": str(tmp_path), "data": str(data), "run": str(trained)}
    given = [argument.format(**places) for argument in arguments]
    if "train" in given and "--out" not in given:
        given += ["--out", str(tmp_path / "out")]
    found, _, errors = call(capsys, "translate", *given)
    assert (found, len(errors)) == (code, 1) and message in errors[0], errors


def test_other_commands_refuse_the_run_by_name(
    trained: Path, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, _, errors = call(capsys, "generate", "--model", trained, "--prompt", "a")
    assert (code, len(errors)) == (2, 1) and "holds an encoder-decoder: `tinygrad-llm train` makes a GPT" in errors[0]
    code, _, errors = call(capsys, "classify", "train", "--model", trained, "--data", data, "--out", tmp_path)
    assert (code, len(errors)) == (2, 1) and "holds an encoder-decoder: `tinygrad-llm train` makes a GPT" in errors[0]


def test_pairs_that_do_not_fit_are_counted_and_the_context_that_keeps_them_is_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "pairs.tsv").write_text("".join(f"{'a' * n}\tb{n}\n" for n in range(1, 21)))
    sizes = ["--vocab-size", "257", "--embedding-dim", "8", "--num-heads", "1", "--num-layers", "1", "--steps", "0"]
    argv = ["translate", "train", "--data", tmp_path / "pairs.tsv", "--held-out", "0.5", *sizes]
    for context, said in ((11, "--context-length 21 keeps all"), (21, "")):
        code, printed, errors = call(capsys, *argv, "--context-length", context, "--out", tmp_path / str(context))
        assert (code, errors) == (0, []) and ("left out" in printed) == bool(said) and said in printed
