"""Evaluation on multiple-choice questions, zero-shot or few-shot: the model's answer is the most probable choice.

Two scores rank the choices: the log-likelihood of the choice's text after the prompt, and the same per byte, because
the first favours short texts (Brown et al. 2020, arXiv:2005.14165, divide by tokens; bytes do not depend on the
tokenizer).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tinygrad_llm.arrays import Array
from tinygrad_llm.data.instructions import PromptForm
from tinygrad_llm.data.multiple_choice import Question, question_ids
from tinygrad_llm.data.padding import pad_right
from tinygrad_llm.errors import AnomalyError, DataError
from tinygrad_llm.finetune import sequence_log_probs
from tinygrad_llm.text import Tokenizer
from tinygrad_llm.train import evaluating
from tinygrad_llm.train.parallel.mapping import map_in_workers


@dataclass(frozen=True)
class ChoiceReport:
    """The number of questions scored, and the accuracy by each score.

    `skipped` questions did not fit the context; `shortened` ones fitted with fewer shots. `chance` is the accuracy of
    guessing.
    """

    count: int
    skipped: int
    shortened: int
    shots: int
    chance: float
    by_sum: float
    by_byte: float

    def standard_error(self, accuracy: float) -> float:
        """√(p (1 - p) / (n - 1)) for an accuracy p over n questions; it is 0 for p = 0 or 1, even where n is small."""
        return math.sqrt(accuracy * (1 - accuracy) / max(self.count - 1, 1))

    def to_dict(self) -> dict[str, Any]:
        return {
            "count": self.count,
            "skipped": self.skipped,
            "shortened": self.shortened,
            "shots": self.shots,
            "chance": self.chance,
            "accuracy": self.by_sum,
            "accuracy_standard_error": self.standard_error(self.by_sum),
            "accuracy_per_byte": self.by_byte,
            "accuracy_per_byte_standard_error": self.standard_error(self.by_byte),
        }


@dataclass(frozen=True)
class ScoredQuestion:
    """A question and the log-likelihood of each choice, in nats; None if the question does not fit the context."""

    question: Question
    log_likelihoods: list[float] | None
    by_sum: int | None = None  # index of the choice with the largest log-likelihood
    by_byte: int | None = None  # the same, per byte

    def to_dict(self) -> dict[str, Any]:
        """The question, the two answers of the model, and whether each is right, as JSON can hold it."""
        return {
            "question": self.question.text,
            "choices": list(self.question.choices),
            "answer": self.question.answer,
            "by_sum": self.by_sum,
            "by_byte": self.by_byte,
            "right_by_sum": self.by_sum == self.question.answer,
            "right_by_byte": self.by_byte == self.question.answer,
            "log_likelihoods": self.log_likelihoods,
        }


def choice_log_likelihoods(model: Any, start: list[int], ends: Sequence[list[int]]) -> Array | None:
    """ln p(end | start) of each choice, all as token ids; None where the longest does not fit the model's context.

    Shapes: -> (number of choices,)
    Units:  nats
    Raises: AnomalyError for log-likelihoods that are not finite
    """
    rows = [start + end for end in ends]
    width = max(map(len, rows))
    if width - 1 > model.config.context_length:  # the last token is only predicted, never read
        return None
    positions = np.arange(width)
    mask = (positions >= len(start)) & (positions < np.array([[len(row)] for row in rows]))
    with evaluating(model):
        found = sequence_log_probs(model, pad_right(rows, width, 0), mask, average=False).data
    if not np.isfinite(found).all():
        raise AnomalyError("choice_log_likelihoods: the model's log-likelihoods must be finite; its training diverged")
    return found


def evaluate_choices(
    model: Any,
    tokenizer: Tokenizer,
    questions: Sequence[Question],
    shots: Sequence[Question] = (),
    progress: Callable[[int, int], None] | None = None,
    style: PromptForm | None = None,
    log: Callable[[ScoredQuestion], None] | None = None,
    end_id: int | None = None,
) -> ChoiceReport:
    """Score the choices of each question, with the answered `shots` before it.

    Where the context is too short, the first shots are left out. `progress(done, total)` and `log(scored)` are
    called after each question; for `style` and `end_id`, by default the tokenizer's, see `question_ids`.

    Raises: DataError if there is no question, or none fits the context
    """
    end = tokenizer.end_of_text if end_id is None else end_id
    right_by_sum = right_by_byte = skipped = shortened = 0
    chances = []

    def likelihoods(question: Question) -> tuple[Array | None, int]:
        """Those of the choices, after as many shots as fit, and how many of the shots were left out."""
        for left_out in range(len(shots) + 1):
            start, ends = question_ids(tokenizer, shots[left_out:], question, style, end)
            found = choice_log_likelihoods(model, start, ends)
            if found is not None:
                break
        return found, left_out

    answered = zip(questions, map_in_workers(likelihoods, questions, model), strict=True)
    for done, (question, (found, left_out)) in enumerate(answered, start=1):
        if found is None:
            skipped += 1
            scored = ScoredQuestion(question, None)
        else:
            shortened += left_out > 0
            sizes = [len(choice.encode()) + (style is None) for choice in question.choices]  # plain: after a space
            scored = ScoredQuestion(question, found.tolist(), int(found.argmax()), int((found / sizes).argmax()))
            right_by_sum += scored.by_sum == question.answer
            right_by_byte += scored.by_byte == question.answer
            chances.append(1 / len(question.choices))
        if log is not None:
            log(scored)
        if progress is not None:
            progress(done, len(questions))
    count = len(chances)
    if not count:
        raise DataError(
            f"evaluate_choices: at least one question must fit the context of {model.config.context_length} tokens; "
            f"got {len(questions)}, of which {skipped} do not fit: shorten them, or take a model with a longer context"
        )
    return ChoiceReport(
        count, skipped, shortened, len(shots), float(np.mean(chances)), right_by_sum / count, right_by_byte / count
    )
