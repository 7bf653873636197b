"""`instruct generate` and `instruct evaluate` with `--best-of` and `--votes`."""

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from tiny_base import call, make_base

from tinygrad_llm.cli.learned_reward import open_reward
from tinygrad_llm.data import prompt_style
from tinygrad_llm.finetune import sample_answers
from tinygrad_llm.generate import Sampling
from tinygrad_llm.random import Generator
from tinygrad_llm.train import load

ASKED = ("Say one.", "Say two.")
LENGTH = ("--max-new-tokens", "3")


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_base(tmp_path_factory.mktemp("models") / "base")


@pytest.fixture(scope="module")
def reward_run(base: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    from tinygrad_llm.cli import main

    folder = tmp_path_factory.mktemp("reward")
    pairs = [{"instruction": f"Say {n}.", "chosen": f"it is {n}", "rejected": f"IT IS {n}"} for n in range(40)]
    (folder / "pairs.json").write_text(json.dumps(pairs))
    argv = ["reward", "train", "--model", base, "--data", folder / "pairs.json", "--out", folder / "run"]
    assert main([str(word) for word in [*argv, "--steps", "2", "--batch-size", "4"]]) == 0
    return folder / "run"


def sampled(base: Path, instruction: str, count: int, temperature: float = 1.0) -> tuple[dict[str, str], list[str]]:
    """The record of an instruction, and the answers that `--seed 4` samples."""
    model, tokenizer = load(base)
    record, sampling = {"instruction": instruction, "input": ""}, Sampling(temperature=temperature)
    style, ends = prompt_style("phi3"), [256]
    return record, sample_answers(model, tokenizer, [record], count, style, 3, ends, sampling, Generator(4))[0]


def test_the_answer_with_the_largest_reward_is_printed(
    base: Path, reward_run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    argv: list[Any] = ["instruct", "generate", *ASKED, "--model", base, *LENGTH, "--seed", 4, "--best-of", 6]
    code, printed, errors = call(capsys, *argv, "--reward-model", reward_run)
    assert (code, errors) == (0, [])
    reward = open_reward(reward_run, "phi3")
    for instruction in ASKED:
        record, answers = sampled(base, instruction, 6)
        best = max(answers, key=lambda answer: reward([record], [answer])[0])
        assert repr(best)[1:-1] in repr(printed)


def test_the_most_frequent_answer_is_printed(base: Path, capsys: pytest.CaptureFixture[str]) -> None:
    argv: list[Any] = ["instruct", "generate", ASKED[0], "--model", base, *LENGTH, "--seed", 4, "--votes", 9]
    code, printed, errors = call(capsys, *argv, "--temperature", 0.01)
    _, answers = sampled(base, ASKED[0], 9, 0.01)
    assert (code, errors) == (0, []) and repr(Counter(answers).most_common(1)[0][0])[1:-1] in repr(printed)


def test_evaluation_reports_the_chosen_answers(
    base: Path, reward_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    argv: list[Any] = ["instruct", "evaluate", "--model", base, "--records", 4, "--kinds", "first_word", *LENGTH]
    for options in (("--votes", 3), ("--best-of", 3, "--reward-model", reward_run)):
        reports = []
        for name in ("one.json", "two.json"):
            code, printed, errors = call(capsys, *argv, *options, "--report", tmp_path / name)
            assert (code, errors) == (0, []) and "exact match" in printed
            reports.append(json.loads((tmp_path / name).read_text()))
        assert reports[0] == reports[1] and reports[0]["count"] == 4


def test_flags_that_do_not_fit_are_one_line_of_error(
    base: Path, reward_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    best = ("--best-of", 2, "--reward-model")
    for options, said in (
        (("--votes", 0), "--votes must be 1 to 10,000; got 0"),
        (("--votes", 10**9), "--votes must be 1 to 10,000"),
        (("--votes", 2, *best, reward_run), "give --best-of or --votes, not both"),
        (("--best-of", 2), "--best-of and --reward-model belong together"),
        (("--reward-model", reward_run), "--best-of and --reward-model belong together"),
        ((*best, base), "--reward-model must be a reward model"),
        ((*best, tmp_path), "no run folder"),
        (("--votes", 2, "--temperature", 0), "--temperature must be above 0 with --best-of or --votes"),
    ):
        code, _, errors = call(capsys, "instruct", "generate", "a", "--model", base, *options)
        assert code == 2 and len(errors) == 1 and said in errors[0], (options, errors)
