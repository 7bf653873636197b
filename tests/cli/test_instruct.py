"""`instruct`: train, interrupt, resume, generate, evaluate; LoRA updates are merged into the saved weights."""

import io
import json
import shlex
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tiny_base import call, make_base

from tinygrad_llm.cli.instruct import TRAINING, describe
from tinygrad_llm.data import TASKS, fitting_records, instruction_tasks
from tinygrad_llm.formats import read_safetensors
from tinygrad_llm.models import GPT
from tinygrad_llm.random import Generator
from tinygrad_llm.train import load

SHORT = ["--style", "phi3", "--kinds", "first_word,last_word", "--records", "40", "--test-records", "4"]
STEPS = ["--max-new-tokens", "4", "--steps", "6", "--eval-interval", "3", "--warmup-steps", "2"]


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_base(tmp_path_factory.mktemp("models") / "base", context_length=192)


@pytest.fixture(scope="module")
def trained(base: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    from tinygrad_llm.cli import main

    out = tmp_path_factory.mktemp("runs") / "run"
    assert main(["instruct", "train", "--model", str(base), "--out", str(out), *SHORT, *STEPS]) == 0
    return out


def test_training_reports_each_kind_before_and_after(trained: Path) -> None:
    report = json.loads((trained / "report.json").read_text())
    for when in ("before", "after"):
        assert set(report[when]["kinds"]) == {"first_word", "last_word"} and len(report[when]["answers"]) == 4
    metrics = [json.loads(line) for line in (trained / "metrics.jsonl").read_text().splitlines()]
    losses = [record["val_loss"] for record in metrics if record.get("val_loss") is not None]
    assert losses[-1] < losses[0]


def test_the_table_compares_with_the_most_frequent_answer_of_each_kind(
    trained: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    kinds = ({"exact_match": exact, "token_f1": f1, "count": 3} for exact, f1 in ((0, 0.1), (0.75, 0.8), (0.25, 0.3)))
    before, after, constant = ({**figures, "kinds": {"plural": figures}} for figures in kinds)
    _, names, row, total = describe(constant, before, after).splitlines()
    assert names.split() == ["kind", "count", "exact", "match", "same", "token", "F1", "same"]
    assert row.split() == ["plural", "3", "0.0%", "->", "75.0%", "25.0%", "0.100", "->", "0.800", "0.300"]
    assert total.split()[1:] == row.split()[1:]


def test_starts_from_nothing_without_a_model_and_resumes_to_the_same_weights(
    trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    whole, parts = tmp_path / "whole", tmp_path / "parts{1}"
    code, printed, errors = call(capsys, "instruct", "train", "--out", whole, *SHORT, *STEPS)
    assert (code, errors) == (0, []) and "a new GPT of" in printed and "from scratch" in printed
    record = json.loads((whole / "report.json").read_text())["after"]["answers"][0]
    *_, suggested = printed.splitlines()
    asked = shlex.split(suggested)[2:]  # after "try it:"
    assert asked[4:] == [str(whole), record["instruction"], *(["--input", record["input"]] if record["input"] else [])]
    assert call(capsys, *asked[1:])[::2] == (0, [])
    assert call(capsys, "instruct", "train", "--out", parts, *SHORT, *STEPS, "--stop-at", "3")[::2] == (0, [])
    code, printed, errors = call(capsys, "instruct", "train", "--resume", "--out", parts)
    assert (code, errors) == (0, []) and str(parts) in printed.splitlines()[-1]  # braces and all
    one, other = (read_safetensors(out / "model.safetensors") for out in (whole, parts))
    assert one.keys() == other.keys() and all(np.array_equal(one[name], other[name]) for name in one)
    argv = ["instruct", "train", "--resume", "--out", whole, "--model", trained, "--steps", "9"]
    assert f"--model was none, got {trained}" in call(capsys, *argv)[2][0]


def test_settings_differ_without_a_model_and_flags_take_precedence(
    base: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    plans = []
    for name, given in (("new", ()), ("given", ("--model", base)), ("flags", ("--batch-size", "5"))):
        argv = [
            "instruct",
            "train",
            "--out",
            tmp_path / name,
            *given,
            *SHORT,
            "--max-new-tokens",
            "1",
            "--stop-at",
            "1",
        ]
        assert call(capsys, *argv)[::2] == (0, [])
        plans.append(json.loads((tmp_path / name / "config.json").read_text())["training"])
    new, given, flags = plans
    assert (new["steps"], new["batch_size"]) == (TRAINING.from_nothing.steps, TRAINING.from_nothing.batch_size)
    assert (given["steps"], given["batch_size"]) == (TRAINING.settings.steps, TRAINING.settings.batch_size)
    assert flags == {**new, "batch_size": 5}


def test_a_lora_run_changes_the_linear_layers_of_the_blocks_only_and_loads_without_lora(
    base: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for out, stops in ((tmp_path / "whole", ()), (tmp_path / "parts", (3,))):
        argv = ["instruct", "train", "--model", base, "--out", out, *SHORT, *STEPS, "--lora-rank", "2"]
        for stop in stops:
            assert call(capsys, *argv, "--stop-at", stop)[0] == 0
            assert type(load(out)[0]) is GPT
            argv = ["instruct", "train", "--resume", "--out", out]
        assert call(capsys, *argv)[::2] == (0, [])
    before = read_safetensors(base / "model.safetensors")
    whole, parts = (read_safetensors(tmp_path / name / "model.safetensors") for name in ("whole", "parts"))
    assert before.keys() == whole.keys() and all(np.array_equal(whole[name], parts[name]) for name in whole)
    changed = {name for name in whole if not np.array_equal(whole[name], before[name])}
    assert changed and all(name.startswith("blocks.") and name.endswith(".weight") for name in changed)
    assert not any("norm" in name or "embedding" in name for name in changed)


def test_a_lora_run_from_before_the_scaling_was_recorded_resumes_with_alpha() -> None:
    recorded = TRAINING.options.to_dict()
    assert recorded["lora_scaling"] == "alpha/rank"
    old = {name: value for name, value in recorded.items() if name != "lora_scaling"}
    assert TRAINING.options.from_dict(old).lora_scaling == "alpha"
    assert TRAINING.options.from_dict(recorded) == TRAINING.options


def test_arguments_and_lines_of_stdin_get_the_same_answers(
    trained: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    ask = ["instruct", "generate", "--model", trained, "--max-new-tokens", "5"]
    code, printed, errors = call(capsys, *ask, "Say the first word.", "Hi")
    assert (code, errors) == (0, []) and printed.strip()
    monkeypatch.setattr("sys.stdin", io.StringIO("Say the first word.\n\nHi\n"))
    assert call(capsys, *ask)[1] == printed


def test_evaluates_generated_and_given_records_and_counts_those_that_do_not_fit(
    trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    records = instruction_tasks(3, Generator(1), ["first_word"])
    data, report = tmp_path / "records.json", tmp_path / "report.json"
    data.write_text(json.dumps([*records, {"instruction": "x" * 500, "output": "y"}]))
    ask = ["instruct", "evaluate", "--model", trained, "--max-new-tokens", "3"]
    code, printed, errors = call(capsys, *ask, "--data", data, "--report", report)
    assert (code, errors) == (0, []) and "1 records skipped" in printed and "first_word     3" in printed
    assert json.loads(report.read_text())["count"] == 3
    assert "last_word" in call(capsys, *ask, "--kinds", "last_word", "--records", "2")[1]

    def answered(*asked: Any) -> list[str]:
        return [line.split()[0] for line in call(capsys, *ask, "--records", "80", *asked)[1].splitlines()[1:]]

    assert answered() == ["first_word", "last_word", "all"]  # as it was trained
    assert answered("--kinds", "") == [*sorted(TASKS), "all"]


def test_a_question_must_leave_room_for_one_token(base: Path) -> None:
    _, tokenizer = load(base)
    record = {"instruction": "Hi", "input": "", "output": "yes"}
    length = len("<|user|>\nHi\n<|assistant|>:\n")
    assert fitting_records([record], tokenizer, "phi3", length) == []
    assert fitting_records([record], tokenizer, "phi3", length + 1) == [record]


def test_misfitting_options_are_one_line_of_error(
    base: Path, trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    long = tmp_path / "long.json"
    long.write_text(json.dumps([{"instruction": "x" * 500, "output": "y"}] * 20))
    new = ["--model", base, "--out", tmp_path / "new"]
    for argv, said in (
        (["train", "--resume", "--out", trained, "--model", tmp_path], f"--model was {base}, got {tmp_path}"),
        (["train", *new, "--records", "9" * 25], "--records must be at most 1,000,000"),
        (["train", *new, "--test-records", "9" * 25], "--test-records must be at most 1,000,000"),
        (["evaluate", "--model", trained, "--records", "9" * 25], "--records must be at most 1,000,000"),
        (["train", *new, "--lora-rank", "9" * 25], "--lora-rank must be at most 16"),
        (["train", *new, "--kinds", "first_word,juggle"], "--kinds must name some of"),
        (["train", *new, "--records", "0"], "--records must be an integer of at least 1"),
        (["train", *new, "--records", "9" * 25], "--records must be at most 1,000,000"),
        (["train", *new, "--test-records", "9" * 25], "--test-records must be at most 1,000,000"),
        (["evaluate", "--model", trained, "--records", "9" * 25], "--records must be at most 1,000,000"),
        (["train", *new, "--lora-rank", "-1"], "--lora-rank must be an integer of at least 0"),
        (["train", *new, "--data", long], "at least one record must be left"),
        (["train", *new, "--data", tmp_path / "none.json"], "none.json"),
        (["train", "--resume", "--out", trained, "--style", "alpaca"], "--style was phi3, got alpaca"),
        (["generate", "--model", trained, "x" * 500], "generate: a question must be shorter than the context"),
        (
            ["generate", "--model", trained, "x", "--max-new-tokens", "-1"],
            "--max-new-tokens must be an integer of at least 1",
        ),
        (["evaluate", "--model", trained, "--kinds", ","], "--kinds must name some of"),
        (["evaluate", "--model", trained, "--records", "0"], "--records must be an integer of at least 1"),
        (["evaluate", "--model", trained, "--data", long], "evaluate: at least one record must fit"),
        (["evaluate", "--model", trained, "--report", tmp_path / "no" / "r.json"], "--report must name"),
        (["evaluate", "--model", trained, "--report", "/dev/null"], "--report must name"),
        (["evaluate", "--model", trained, "--data", __file__, "--report", __file__], "--report must not be a file"),
    ):
        code, _, errors = call(capsys, "instruct", *argv)
        assert code in (1, 2) and len(errors) == 1 and said in errors[0], (argv, errors)
