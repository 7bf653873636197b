"""`evaluate`: choices scored by the model's log-likelihoods, and one-line errors for invalid task files."""

import json
import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from tiny_base import call, make_base

from tinygrad_llm import no_grad
from tinygrad_llm.data import PROMPT_STYLES
from tinygrad_llm.data.multiple_choice import Question, few_shot_prompt, question_ids, read_questions
from tinygrad_llm.errors import TinygradLLMError
from tinygrad_llm.finetune.multiple_choice import choice_log_likelihoods, evaluate_choices
from tinygrad_llm.train import load

RECORDS = [{"question": f"{n} + 1?", "choices": [str(n + 1), "no"], "answer": n % 2} for n in range(8)]
GOOD = json.dumps(RECORDS).encode()


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_base(tmp_path_factory.mktemp("models") / "base")


@pytest.fixture(scope="module")
def task(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("data") / "task.json"
    path.write_bytes(GOOD)
    return path


def test_the_log_likelihood_is_the_sum_over_the_choices_tokens(base: Path) -> None:
    model, tokenizer = load(base)
    choices = ("b", "a long one")
    start, ends = question_ids(tokenizer, [], Question("a?", choices, 0))
    assert start == tokenizer.encode_ordinary("Question: a?\nAnswer:")
    found = choice_log_likelihoods(model, start, ends)
    for choice, value in zip(choices, found, strict=True):
        ids = start + tokenizer.encode_ordinary(" " + choice)
        with no_grad():
            logits = model(np.array([ids])).data[0].astype(np.float64)
        log_probs = logits - np.log(np.exp(logits).sum(axis=-1, keepdims=True))
        expected = sum(log_probs[place - 1, ids[place]] for place in range(len(start), len(ids)))
        assert value == pytest.approx(expected, rel=1e-5)


def test_shots_are_dropped_until_the_prompt_fits_and_skipped_questions_are_counted(base: Path) -> None:
    model, tokenizer = load(base)
    shot, question = Question("s" * 30, ("a", "b"), 0), Question("q" * 20, ("a", "b"), 1)
    assert len(few_shot_prompt([shot] * 3, question)) > 128
    report = evaluate_choices(model, tokenizer, [question, Question("x" * 200, ("a", "b"), 0)], [shot] * 3)
    assert (report.count, report.shortened, report.skipped, report.chance) == (1, 1, 1, 0.5)


def test_prints_accuracy_and_standard_error_as_text_and_as_json(
    base: Path, task: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, printed, errors = call(capsys, "evaluate", "--task", task, "--model", base, "--shots", "2")
    assert (code, errors) == (0, [])
    assert "6 questions in the plain style, 2 shots; accuracy of guessing 50.0%" in printed
    code, printed, errors = call(capsys, "evaluate", "--task", task, "--model", base, "--json")
    figures = json.loads(printed)
    share = figures["accuracy"]
    assert figures["count"] == 8 and figures["accuracy_standard_error"] == math.sqrt(share * (1 - share) / 7)


def test_a_line_for_each_question_on_the_terminal_and_in_a_file(
    base: Path, task: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    log = tmp_path / "log.jsonl"
    code, printed, errors = call(capsys, "evaluate", "--task", task, "--model", base, "--verbose", "--log", log)
    assert (code, errors) == (0, [])
    lines = [line for line in printed.splitlines() if line.startswith(("right ", "wrong "))]
    scored = [json.loads(line) for line in log.read_text().splitlines()]
    assert len(lines) == len(scored) == 8 and max(map(len, printed.splitlines())) <= 80
    for line, entry in zip(lines, scored, strict=True):
        assert entry["question"] in line and line.startswith("right") == entry["right_by_sum"]
        assert entry["by_sum"] == int(np.argmax(entry["log_likelihoods"]))
    figures = json.loads(call(capsys, "evaluate", "--task", task, "--model", base, "--json")[1])
    assert figures["accuracy"] == sum(entry["right_by_sum"] for entry in scored) / 8
    assert figures["accuracy_per_byte"] == sum(entry["right_by_byte"] for entry in scored) / 8


def test_an_instruction_model_is_asked_in_its_prompt_style(
    task: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    base, taught = make_base(tmp_path / "base"), tmp_path / "taught"
    options = ["--kinds", "first_word", "--records", "20", "--test-records", "2", "--max-new-tokens", "4"]
    steps = ["--steps", "1", "--batch-size", "2"]
    assert call(capsys, "instruct", "train", "--model", base, "--out", taught, *options, *steps)[0] == 0
    for asked, style in (([], "phi3"), (["--style", "plain"], "plain")):
        code, printed, errors = call(capsys, "evaluate", "--task", task, "--model", taught, "--json", *asked)
        assert (code, errors) == (0, []) and json.loads(printed)["style"] == style
    _, tokenizer = load(taught)
    shot, question, end = Question("1?", ("a", "b"), 1), Question("2?", ("c", "de"), 0), tokenizer.end_of_text
    start, ends = question_ids(tokenizer, [shot], question, PROMPT_STYLES["phi3"], end)
    written = tokenizer.encode_ordinary("<|user|>\n1?\n<|assistant|>:\nb")
    assert start == [*written, end, *tokenizer.encode_ordinary("<|user|>\n2?\n<|assistant|>:\n")]
    assert ends == [[*tokenizer.encode_ordinary(choice), end] for choice in question.choices]


def test_invalid_arguments_are_one_line_of_error(
    base: Path, task: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for argv, said in (
        (["--task", task, "--model", base, "--shots", "8"], "--shots must be 0 to 7"),
        (["--task", task, "--model", base, "--shots", "-1"], "--shots must be 0 to 7"),
        (["--task", tmp_path / "none", "--model", base], "none of that name"),
        (["--task", task, "--model", tmp_path], "no run folder"),
    ):
        code, _, errors = call(capsys, "evaluate", *argv)
        assert code == 2 and len(errors) == 1 and said in errors[0], (argv, errors)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(categories=None), max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["question", "choices", "answer", "x"]), inner, max_size=4)
    ),
    max_leaves=8,
)
contents = st.one_of(
    st.binary(max_size=60),
    st.integers(0, len(GOOD)).map(lambda size: GOOD[:size]),
    json_values.map(lambda value: json.dumps(value).encode()),
    st.lists(
        st.fixed_dictionaries(
            {
                "question": st.just("q") | json_values,
                "choices": st.just(["a", "b"]) | json_values,
                "answer": st.just(0) | json_values,
            }
        ),
        max_size=2,
    ).map(lambda value: json.dumps(value).encode()),
)


@settings(deadline=None, max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(contents, st.sampled_from([".json", ".jsonl"]))
@example(b"[" * 100_000, ".json")
@example(b'[{"question": ' * 50_000, ".json")
@example(b'[{"question": "q", "choices": ["a", "b"], "answer": NaN}]', ".json")
@example(b'[{"question": "q", "choices": ["a", "b"], "answer": ' + b"9" * 5000 + b"}]", ".json")
@example(b'[{"question": "q", "choices": ["a", "b"], "answer": 1e999}]', ".json")
@example(b'[{"question": "\\ud800", "choices": ["a", "b"], "answer": 0}]', ".json")
@example(b'[{"question": "q", "choices": ["a", "\\udfff"], "answer": 0}]', ".json")
@example(b" " * 1_000_000, ".jsonl")
def test_any_task_file_gives_questions_or_an_error_of_the_package(tmp_path: Path, content: bytes, suffix: str) -> None:
    path = tmp_path / f"task{suffix}"
    path.write_bytes(content)
    try:
        questions = read_questions(path)
    except TinygradLLMError:
        return
    for question in questions:
        assert 0 <= question.answer < len(question.choices) >= 2
        few_shot_prompt(questions, question).encode()


def test_a_million_spaces_in_a_question_are_skipped(
    base: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "task.json"
    path.write_text(json.dumps([{**RECORDS[0], "question": "a" + " " * 1_000_000}, RECORDS[1]]))
    code, printed, errors = call(capsys, "evaluate", "--task", path, "--model", base)
    assert (code, errors) == (0, []) and "skipped, longer than the context: 1 question\n" in printed
