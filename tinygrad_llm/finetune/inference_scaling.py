"""Inference-time scaling: several sampled answers to one question, and the choice of one of them.

    best of N       the answer with the largest reward (Stiennon et al. 2020, arXiv:2009.01325)
    majority        the most frequent answer: self-consistency (Wang et al. 2022, arXiv:2203.11171)
    pass@k          whether one of k answers is right: the bound of a verifier without errors (Chen et al. 2021,
                    arXiv:2107.03374)

From n sampled answers the curve over k = 1 ... n follows without further samples: `pass_at_k` and `best_of_k` are means
over all subsets of k answers.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from tinygrad_llm.arrays import Array
from tinygrad_llm.checks import expect_count
from tinygrad_llm.data.instructions import PromptForm, Record
from tinygrad_llm.errors import ConfigError, DataError, ShapeError
from tinygrad_llm.finetune.instructions import respond
from tinygrad_llm.finetune.reward import Reward
from tinygrad_llm.generate import Sampling
from tinygrad_llm.generate.ending import EndOfText
from tinygrad_llm.random import Generator
from tinygrad_llm.text import Tokenizer


def sample_answers(
    model: Any,
    tokenizer: Tokenizer,
    records: Sequence[Record],
    count: int,
    style: str | PromptForm,
    max_new_tokens: int,
    end_id: EndOfText,
    sampling: Sampling | None = None,
    generator: Generator | None = None,
    batch_size: int = 256,
    progress: Callable[[int, int], None] | None = None,
) -> list[list[str]]:
    """`count` answers to each record, sampled at temperature 1 unless `sampling` says otherwise.

    Each question is read once; its answers, and those of further questions, are decoded in batches of at most
    `batch_size`. `progress(done, total)` counts the records that are answered.

    Shapes: -> a list of `count` answers for each record
    Units:  max_new_tokens in tokens
    Raises: ConfigError for a count or a batch_size below 1; else as `respond`
    """
    expect_count("sample_answers", "count", count)
    expect_count("sample_answers", "batch_size", batch_size)
    sampling = Sampling(temperature=1.0) if sampling is None else sampling
    answers: list[list[str]] = []
    together = max(1, batch_size // count)
    for first in range(0, len(records), together):
        part = records[first : first + together]
        found: list[list[str]] = [[] for _ in part]
        for done in range(0, count, batch_size):
            copies = min(count - done, batch_size)
            texts = respond(model, tokenizer, part, style, max_new_tokens, end_id, sampling, generator, copies=copies)
            for place, some in enumerate(found):
                some += texts[place * copies : (place + 1) * copies]
        answers += found
        if progress is not None:
            progress(len(answers), len(records))
    return answers


def best_answer(record: Record, answers: Sequence[str], reward: Reward) -> str:
    """The answer with the largest reward; the first of equal ones. Raises: DataError if there is no answer"""
    _expect_answers("best_answer", answers)
    distinct = list(dict.fromkeys(answers))
    return distinct[int(np.argmax(reward([record] * len(distinct), distinct)))]


def majority_answer(answers: Sequence[str]) -> str:
    """The most frequent answer; the first of equally frequent ones. Raises: DataError if there is no answer

    >>> majority_answer(["6", "8", "8", "7"])
    '8'
    """
    _expect_answers("majority_answer", answers)
    return Counter(answers).most_common(1)[0][0]


def _expect_answers(owner: str, answers: Sequence[str]) -> None:
    if not answers:
        raise DataError(f"{owner}: at least one answer is needed; got none")


def pass_at_k(n: int, c: ArrayLike, k: int) -> Array:
    """The probability that one of k answers is right, where c of n sampled answers are: the unbiased estimator.

        pass@k = 1 - C(n - c, k) / C(n, k)

    Shapes: c (...), integers in 0 ... n -> (...)
    Raises: ConfigError unless 1 <= k <= n and 0 <= c <= n

    >>> pass_at_k(4, [0, 1, 2, 4], k=2).round(3)
    array([0.   , 0.5  , 0.833, 1.   ])
    """
    expect_count("pass_at_k", "n", n)
    _expect_subset("pass_at_k", n, k)
    right = np.asarray(c)
    if not np.issubdtype(right.dtype, np.integer) or (right < 0).any() or (right > n).any():
        raise ConfigError(f"pass_at_k: c must be integers in 0 ... n = {n}, the answers that are right; got {c!r}")
    others = n - np.arange(n)  # C(n - c, k) / C(n, k) gains the factor (others - k) / others for each right answer
    all_wrong = np.cumprod(np.concatenate([[1.0], np.maximum(others - k, 0) / others]))
    return np.asarray(1 - all_wrong[right])


def best_of_k(scores: ArrayLike, rewards: ArrayLike, k: int) -> Array:
    """The mean score of the answer with the largest reward of k answers, over all subsets of k of the n answers.

    With the answers in the order of their rewards, answer i = 0 ... n - 1 is the best of C(i, k - 1) subsets:

        Σᵢ scoreᵢ · C(i, k - 1) / C(n, k)

    With the scores themselves as rewards, 1 for a right answer and 0 for others, it is `pass_at_k`.

    Shapes: scores, rewards (..., n) -> (...)
    Raises: ShapeError if the two differ in shape, ConfigError unless 1 <= k <= n

    >>> round(float(best_of_k(scores=[0, 1, 0], rewards=[0.1, 0.7, 0.9], k=2)), 3)
    0.333
    """
    scores, rewards = np.asarray(scores, np.float64), np.asarray(rewards)
    if scores.shape != rewards.shape or not scores.ndim:
        raise ShapeError(f"best_of_k: scores and rewards must both be (..., n); got {scores.shape}, {rewards.shape}")
    n = scores.shape[-1]
    _expect_subset("best_of_k", n, k)
    ordered = np.take_along_axis(scores, np.argsort(rewards, axis=-1, kind="stable"), axis=-1)
    place = np.arange(n - 1, 0, -1)  # C(i - 1, k - 1) = C(i, k - 1) · (i - k + 1) / i
    shares = np.cumprod(np.concatenate([[k / n], np.maximum(place - k + 1, 0) / place]))
    return np.asarray(ordered[..., ::-1] @ shares)


def _expect_subset(owner: str, n: int, k: int) -> None:
    expect_count(owner, "k", k)
    if k > n:
        raise ConfigError(f"{owner}: k must be at most n, the number of sampled answers; got k = {k}, n = {n}")


def majority_of_k(answers: Sequence[Sequence[str]], rights: Sequence[str], k: int) -> float:
    """The share of votes of k answers that are right; the n answers of each question make n // k votes.

    Shapes: n answers for each question, one right answer for each question
    Raises: ConfigError unless 1 <= k <= n for each question
    """
    votes = []
    for sampled, right in zip(answers, rights, strict=True):
        _expect_subset("majority_of_k", len(sampled), k)
        starts = range(0, len(sampled) - k + 1, k)
        votes.append(np.mean([majority_answer(sampled[start : start + k]) == right for start in starts]))
    return float(np.mean(votes))
