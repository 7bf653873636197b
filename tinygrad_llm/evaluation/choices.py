"""Multiple choice: the model's answer is the choice whose text is most probable after the question.

    acc          log-likelihood of the choice
    acc_norm     log-likelihood / characters of the choice
    acc_bytes    log-likelihood / bytes
    acc_tokens   log-likelihood / tokens (Brown et al. 2020, arXiv:2005.14165)

The first favours short texts, which the others balance. acc, acc_norm and acc_bytes are those of lm-evaluation-harness.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from tinygrad_llm.errors import DataError
from tinygrad_llm.evaluation.prompts import EncodedQuestion, Prompts
from tinygrad_llm.evaluation.reports import TaskReport, mean_metric
from tinygrad_llm.evaluation.scoring import ContextReader, Score
from tinygrad_llm.evaluation.task_files import CHOICES, Question
from tinygrad_llm.train.parallel.mapping import map_in_workers


@dataclass(frozen=True)
class ScoredChoices:
    """A question and the score of each choice; None if a choice alone is longer than the model's context.

    `cut`: the beginning of the prompt did not fit the context.
    """

    question: Question
    prompt: str
    scores: list[Score] | None
    cut: bool

    @property
    def predictions(self) -> dict[str, int]:
        """The index of the best choice by each metric; empty without scores."""
        if self.scores is None:
            return {}
        sums = np.array([score.log_likelihood for score in self.scores])
        sizes = {
            "acc": np.ones(len(sums)),
            "acc_norm": np.array([len(choice) for choice in self.question.choices]),
            "acc_bytes": np.array([len(choice.encode()) for choice in self.question.choices]),
            "acc_tokens": np.array([score.tokens for score in self.scores]),
        }
        return {name: int(np.argmax(sums / size)) for name, size in sizes.items()}

    def to_dict(self) -> dict[str, Any]:
        """The sample as JSON can hold it. Units: log_likelihoods in nats"""
        scores, predictions = self.scores or [], self.predictions
        return {
            "prompt": self.prompt,
            "choices": list(self.question.choices),
            "answer": self.question.answer,
            "log_likelihoods": [score.log_likelihood for score in scores] or None,
            "tokens": [score.tokens for score in scores] or None,
            "greedy": [score.greedy for score in scores] or None,
            "prediction": predictions.get("acc"),
            "correct": predictions.get("acc") == self.question.answer,
            "predictions": predictions,
            "cut": self.cut,
        }


def evaluate_choices(
    model: Any,
    prompts: Prompts,
    questions: Sequence[Question],
    shots: Sequence[Question] = (),
    longest: int | None = None,
    log: Callable[[ScoredChoices], None] | None = None,
    encoded: Sequence[EncodedQuestion] | None = None,
) -> TaskReport:
    """Score the choices of each question, with the answered `shots` before it. `log` is called with each sample.

    `encoded`: what `prompts.encode` gave for each question, where it has been called already.

    Units:  longest in tokens, see `ContextReader`
    Raises: DataError if there is no question, or none with choices that fit the context
    """
    encoded = [prompts.encode(shots, question) for question in questions] if encoded is None else encoded
    scored = partial(_scored, ContextReader(model, longest), prompts)
    samples = []
    for sample in map_in_workers(scored, list(zip(questions, encoded, strict=True)), model):
        samples.append(sample)
        if log is not None:
            log(sample)
    return choice_report(samples, len(shots))


def _scored(reader: ContextReader, prompts: Prompts, asked: tuple[Question, EncodedQuestion]) -> ScoredChoices:
    question, (context, choices) = asked
    prompt = prompts.tokenizer.decode(context)
    return ScoredChoices(question, prompt, reader.score(context, choices), reader.cuts(context, choices))


def choice_report(samples: Sequence[ScoredChoices], shots: int = 0) -> TaskReport:
    """The accuracies over all samples with scores. Raises: DataError if there are none"""
    scored = [sample for sample in samples if sample.scores is not None]
    if not scored:
        raise DataError(
            f"at least one question must have choices that fit the context; got {len(samples)} "
            "questions, none of which does: shorten the choices, or take a model with a longer context"
        )
    metrics = {
        name: mean_metric([sample.predictions[name] == sample.question.answer for sample in scored])
        for name in scored[0].predictions
    }
    notes = {
        "shots": shots,
        "chance": float(np.mean([1 / len(sample.question.choices) for sample in scored])),
        "cut": sum(sample.cut for sample in scored),
        "skipped": len(samples) - len(scored),
    }
    return TaskReport(CHOICES, len(scored), metrics, notes)
