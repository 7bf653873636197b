"""Several answers to one question: which is chosen, and the estimators over subsets."""

import itertools
import math

import numpy as np
import pytest
from tiny_base import tiny_model

from tinygrad_llm import Generator
from tinygrad_llm.errors import ConfigError, DataError, ShapeError
from tinygrad_llm.finetune import (
    best_answer,
    best_of_k,
    majority_answer,
    majority_of_k,
    pass_at_k,
    respond,
    sample_answers,
)
from tinygrad_llm.generate import Sampling

RECORDS = [{"instruction": text, "input": ""} for text in ("one", "a longer one", "3")]


def test_pass_at_k_is_the_formula_of_chen_et_al() -> None:
    n = 7
    for k in range(1, n + 1):
        expected = [1 - math.comb(n - c, k) / math.comb(n, k) for c in range(n + 1)]
        np.testing.assert_allclose(pass_at_k(n, np.arange(n + 1), k), expected, atol=1e-12)
    assert pass_at_k(1000, 1, 100) == pytest.approx(0.1) and pass_at_k(10_000, 0, 10_000) == 0
    assert pass_at_k(4, np.array([[1, 2], [3, 4]]), 1).tolist() == [[0.25, 0.5], [0.75, 1.0]]


def test_best_of_k_is_the_mean_over_all_subsets() -> None:
    generator = Generator(0)
    scores, rewards = generator.rand(3, 6).astype(np.float64), generator.randn(3, 6)
    for k in range(1, 7):
        chosen = [
            [row[max(subset, key=reward.__getitem__)] for subset in itertools.combinations(range(6), k)]
            for row, reward in zip(scores, rewards, strict=True)
        ]
        np.testing.assert_allclose(best_of_k(scores, rewards, k), np.mean(chosen, axis=1), rtol=1e-12)
    right = scores > 0.5
    np.testing.assert_allclose(best_of_k(right, right, 2), pass_at_k(6, right.sum(axis=1), 2))
    assert best_of_k(np.ones(2000), np.arange(2000), 700) == pytest.approx(1)  # the shares add up to 1


def test_majority_of_k_counts_separate_votes() -> None:
    answers = [["b", "a", "a", "c", "c", "a", "b"], ["a"] * 7]
    assert majority_of_k(answers, ["a", "a"], 1) == (3 / 7 + 1) / 2
    assert majority_of_k(answers, ["a", "b"], 3) == 1 / 4  # baa: a, cca: c; aaa twice
    assert majority_answer(["b", "a", "a", "b"]) == "b"  # the first of equally frequent ones


def test_the_best_answer_has_the_largest_reward_and_equal_answers_are_judged_once() -> None:
    judged: list[str] = []

    def reward(records: object, answers: object) -> np.ndarray:
        judged.extend(answers)  # type: ignore[call-overload]
        return np.array([len(answer) for answer in answers])  # type: ignore[attr-defined]

    assert best_answer(RECORDS[0], ["a", "bb", "cc", "a"], reward) == "bb"
    assert judged == ["a", "bb", "cc"]


def test_invalid_arguments() -> None:
    for n, c, k in ((4, 5, 1), (4, -1, 1), (4, 1.5, 1), (4, 1, 5), (4, 1, 0), (0, 0, 1)):
        with pytest.raises(ConfigError, match="pass_at_k"):
            pass_at_k(n, c, k)
    with pytest.raises(ShapeError, match=r"both be \(..., n\); got \(2,\), \(3,\)"):
        best_of_k([1, 2], [1, 2, 3], 1)
    for call in (lambda: best_of_k([1, 2], [1, 2], 3), lambda: majority_of_k([["a"]], ["a"], 2)):
        with pytest.raises(ConfigError, match="k must be at most n"):
            call()
    for choose in (lambda: majority_answer([]), lambda: best_answer(RECORDS[0], [], lambda *_: np.zeros(0))):
        with pytest.raises(DataError, match="at least one answer"):
            choose()
    with pytest.raises(ConfigError, match="count must be an integer of at least 1"):
        sample_answers(*tiny_model(), RECORDS, 0, "phi3", 4, 256)


def test_many_answers_to_many_records() -> None:
    model, tokenizer = tiny_model()
    done: list[tuple[int, int]] = []
    arguments = (RECORDS, 5, "phi3", 6, 256, Sampling(temperature=0.8))
    answers = sample_answers(model, tokenizer, *arguments, Generator(1), progress=lambda *state: done.append(state))
    assert [len(some) for some in answers] == [5] * 3 and done == [(3, 3)]
    assert answers == sample_answers(model, tokenizer, *arguments, Generator(1))
    fewer = sample_answers(model, tokenizer, *arguments, Generator(1), batch_size=4)
    assert [len(some) for some in fewer] == [5] * 3 and fewer != answers
    greedy = sample_answers(model, tokenizer, RECORDS, 2, "phi3", 6, 256, Sampling())
    assert greedy == [[text, text] for text in respond(model, tokenizer, RECORDS, "phi3", 6, 256)]
