"""`evaluate`: several tasks in one command, as a table, as JSON and as a log; one-line errors."""

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tiny_base import call, make_base, save_base

from tinygrad_llm.models import GPT, GPTConfig
from tinygrad_llm.text import BPETokenizer, CharTokenizer

CHOICES = [{"question": f"{n} + 1?", "choices": [str(n + 1), "no"], "answer": n % 2} for n in range(8)]
ANSWERS = [{"question": f"{n}?", "answer": ["1", "2"]} for n in range(3)]


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_base(tmp_path_factory.mktemp("models") / "base")


@pytest.fixture(scope="module")
def tasks(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("data")
    settings = {"settings": {"max_new_tokens": 3, "filter": "first-number", "shots": 1}}
    contents = {
        "choices.json": json.dumps(CHOICES),
        "answers.jsonl": "\n".join(map(json.dumps, [settings, *ANSWERS])),
        "document.txt": "a text of some words\n" * 9,
    }
    for name, text in contents.items():
        (folder / name).write_text(text)
    return [folder / name for name in contents]


def test_several_tasks_as_a_table_as_json_and_as_a_log(
    base: Path, tasks: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    log = tmp_path / "log.jsonl"
    argv: list[Any] = ["evaluate", "--task", *tasks, "--model", base]
    code, printed, errors = call(capsys, *argv, "--verbose", "--log-samples", log)
    assert (code, errors) == (0, []) and max(map(len, printed.splitlines())) <= 80
    assert "choices: plain style, 0 shots; accuracy of guessing 50.0%" in printed
    assert "document: 189 bytes, 189 tokens" in printed
    scored = [json.loads(line) for line in log.read_text().splitlines()]
    assert [entry["task"] for entry in scored] == ["choices"] * 8 + ["answers"] * 2 + ["document"]
    lines = [line for line in printed.splitlines() if line.startswith(("right ", "wrong "))]
    for line, entry in zip(lines, scored[:10], strict=True):
        assert line.startswith("right") == entry["correct"]
    for entry in scored[:8]:
        record = CHOICES[entry["record"]]
        assert record["question"] in entry["prompt"] and entry["choices"] == record["choices"]
        assert entry["prediction"] == int(np.argmax(entry["log_likelihoods"]))
    figures = json.loads(call(capsys, *argv, "--json")[1])["tasks"]
    share = sum(entry["correct"] for entry in scored[:8]) / 8
    assert figures["choices"]["acc"] == share
    assert figures["choices"]["acc_stderr"] == pytest.approx(math.sqrt(share * (1 - share) / 7))
    assert figures["answers"]["shots"] == 1 and figures["answers"]["count"] == 2
    bits = -scored[-1]["log_likelihood"] / math.log(2) / 189
    assert figures["document"]["bits_per_byte"] == pytest.approx(bits) == pytest.approx(8, abs=0.5)


def test_flags_override_the_settings_of_a_file(
    base: Path, tasks: list[Path], capsys: pytest.CaptureFixture[str]
) -> None:
    argv: list[Any] = ["evaluate", "--task", *tasks[:2], "--model", base, "--json", "--shots", 2, "--limit", 1]
    figures = json.loads(call(capsys, *argv, "--regex", ".", "--votes", 2)[1])["tasks"]
    assert [one["shots"] for one in figures.values()] == [2, 2] and [one["count"] for one in figures.values()] == [1, 1]
    assert "pass@2" in figures["answers"] and figures["answers"]["exact_match_stderr"] is None


def test_an_instruction_model_is_asked_in_its_prompt_style(
    tasks: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    base, taught = make_base(tmp_path / "base"), tmp_path / "taught"
    options = ["--kinds", "first_word", "--records", "20", "--test-records", "2", "--max-new-tokens", "4"]
    steps = ["--steps", "1", "--batch-size", "2"]
    assert call(capsys, "instruct", "train", "--model", base, "--out", taught, *options, *steps)[0] == 0
    for asked, style in (([], "phi3"), (["--style", "plain"], "plain")):
        code, printed, errors = call(capsys, "evaluate", "--task", *tasks, "--model", taught, "--json", *asked)
        assert (code, errors) == (0, []) and json.loads(printed)["style"] == style


def test_invalid_arguments_are_one_line_of_error(
    base: Path, tasks: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "bad.jsonl").write_text('{"text": "a"}\n\n{"text": 1}\n')
    for argv, said in (
        (["--shots", "8"], "--shots must be 0 to 7, so that a question of choices is left to score"),
        (["--shots", "-1"], "--shots must be an integer of at least 0"),
        (["--task", tmp_path / "none"], "none of that name"),
        (["--task", tmp_path / "bad.jsonl"], "line 3: 'text' must be text"),
        (["--task", tasks[0]], "--task must name each file once"),
        (["--model", tmp_path], "no run folder"),
        (["--filter", "regex"], "--filter regex and --regex belong together"),
        (["--filter", "strip", "--regex", "a"], "--filter regex and --regex belong together"),
        (["--ignore", "("], "--ignore must be a regular expression"),
        (["--limit", "0"], "--limit must be an integer of at least 1"),
        (["--max-length", "0"], "--max-length must be an integer of at least 1"),
        (["--overlap", "129"], "--overlap must be at most the tokens read at once, 128"),
        (["--max-new-tokens", "128"], "--max-new-tokens must be below the model's context, 128 tokens"),
        (["--log-samples", tmp_path / "no" / "file"], "--log-samples must name a file"),
        (["--log-samples", tasks[0]], "--log-samples must not be a file that is read"),
        (["--log-samples", tasks[0].parent / ".." / tasks[0].parent.name / tasks[0].name], "file that is read"),
        (["--votes", "9" * 11], "--votes must be an integer in [1, 10000]"),
    ):
        code, _, errors = call(capsys, "evaluate", "--task", *tasks, "--model", base, *argv)
        assert code == 2 and len(errors) == 1 and said in errors[0], (argv, errors)


def test_a_text_that_cannot_be_encoded_is_named(
    tasks: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    letters = CharTokenizer.train("".join(path.read_text() for path in tasks) + "QA")
    model = GPT(GPTConfig(letters.vocab_size, 64, embedding_dim=8, num_heads=1, num_layers=1))
    base = save_base(tmp_path / "base", "gpt", model, letters)
    (tmp_path / "more.jsonl").write_text('{"question": "?", "answer": "1"}\n\n{"question": "\u00e9?", "answer": "1"}\n')
    assert call(capsys, "evaluate", "--task", *tasks, "--model", base)[0] == 0
    code, _, (error,) = call(capsys, "evaluate", "--task", *tasks, tmp_path / "more.jsonl", "--model", base)
    assert code == 1 and "more.jsonl, line 3: every character must be among the" in error and "got 'é'" in error
    assert call(capsys, "evaluate", "--task", tmp_path / "more.jsonl", "--model", base, "--limit", "1")[0] == 0


def test_choices_that_are_all_too_long_are_named_by_their_task(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    base = make_base(tmp_path / "base", context_length=4)
    (tmp_path / "long.jsonl").write_text(json.dumps(CHOICES[0] | {"choices": ["a" * 9, "b" * 9], "answer": 0}))
    code, _, (error,) = call(capsys, "evaluate", "--task", tmp_path / "long.jsonl", "--model", base)
    assert code == 2 and error.startswith("tinygrad-llm evaluate: long: at least one question must have choices that")


def test_two_files_of_one_name_are_told_apart(
    base: Path, tasks: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "choices.jsonl").write_text(json.dumps(CHOICES[0]))
    argv = ["evaluate", "--task", tasks[0], "--task", tmp_path / "choices.jsonl", "--model", base, "--json"]
    figures = json.loads(call(capsys, *argv)[1])["tasks"]
    assert list(figures) == [str(tasks[0]), str(tmp_path / "choices.jsonl")]


def test_a_million_spaces_in_a_question_are_cut(base: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "task.json"
    path.write_text(json.dumps([{**CHOICES[0], "question": "a" + " " * 1_000_000}, CHOICES[1]]))
    code, printed, errors = call(capsys, "evaluate", "--task", path, "--model", base)
    assert (code, errors) == (0, []) and "1 with a prompt cut at its beginning, to fit the context" in printed


def test_every_text_is_encoded_once(
    base: Path, tasks: list[Path], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    encoded, encode = list[str](), BPETokenizer.encode_ordinary
    monkeypatch.setattr(BPETokenizer, "encode_ordinary", lambda self, text: encoded.append(text) or encode(self, text))
    argv: list[Any] = ["evaluate", "--task", *tasks, "--model", base, "--shots", "1", "--max-new-tokens", "1"]
    assert call(capsys, *argv)[0] == 0
    assert len(encoded) == len(set(encoded)) == 7 * 3 + 2 + 1  # a prompt alone and with each choice; an answer's prompt


def test_a_document_without_a_token_is_named_before_any_work(
    base: Path, tasks: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "silent.jsonl").write_text('{"text": "a"}\n{"text": "--"}\n')
    encode = BPETokenizer.encode_ordinary
    monkeypatch.setattr(BPETokenizer, "encode_ordinary", lambda self, text: encode(self, text.replace("-", "")))
    code, printed, (error,) = call(capsys, "evaluate", "--task", tasks[0], tmp_path / "silent.jsonl", "--model", base)
    assert code == 2 and "silent.jsonl, line 2: a document must have a token" in error and "choices" not in printed
