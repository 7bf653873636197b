"""Instruction tuning: the answers of a model to instructions, and their evaluation.

The training is language modelling on the batches of `data.collate_instructions`, by a `Trainer` with its usual loss.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Unpack

import numpy as np

from tinygrad_llm.data.instructions import PromptForm, Record, prompt_form
from tinygrad_llm.data.padding import END_OF_TEXT_ID
from tinygrad_llm.errors import DataError, ShapeError
from tinygrad_llm.finetune.metrics import exact_match, token_f1
from tinygrad_llm.generate import Sampling, generate
from tinygrad_llm.generate.ending import EndOfText
from tinygrad_llm.generate.sampling import SamplingKeywords
from tinygrad_llm.nn import Module
from tinygrad_llm.random import Generator
from tinygrad_llm.text import Tokenizer
from tinygrad_llm.train.parallel.mapping import map_in_workers


def respond(
    model: Any,
    tokenizer: Tokenizer,
    records: Sequence[Record],
    style: str | PromptForm = "alpaca",
    max_new_tokens: int = 256,
    end_id: EndOfText = END_OF_TEXT_ID,
    sampling: Sampling | None = None,
    generator: Generator | None = None,
    copies: int = 1,
    **keywords: Unpack[SamplingKeywords],
) -> list[str]:
    """The model's answer to each record, written as a prompt in the form `style`; `copies` answers, record by record.

    An answer ends before `end_id`, the id that pads the answers in training (or one of several), or after
    `max_new_tokens`, at most one context: after that the model no longer sees the question. Decoding is greedy without
    `sampling` (see `generate`).

    Units:  max_new_tokens in tokens
    Raises: ShapeError for a prompt that leaves no room for an answer in the model's context; ConfigError for an unknown
            style; else as `generate`
    """
    form = prompt_form(style)
    questions = [np.array(form.question_ids(tokenizer, record)) for record in records]
    longest = max(map(len, questions), default=0)
    if longest >= model.config.context_length:
        raise ShapeError(
            f"a question must be shorter than the context, {model.config.context_length} tokens, with the prompt "
            f"template around it; got {longest}: shorten it, or train a model with a larger context length"
        )
    most = min(max_new_tokens, model.config.context_length)
    texts = generate(
        model,
        questions,
        most,
        Sampling.of("respond", sampling, keywords).limited_to(tokenizer),
        eos_id=end_id,
        generator=generator,
        copies=copies,
    )
    asked = (question for question in questions for _ in range(copies))
    return [tokenizer.decode(text[len(question) :]).strip() for text, question in zip(texts, asked, strict=True)]


@dataclass(frozen=True)
class Answer:
    """A record and a model's response to it."""

    record: Record
    response: str

    @property
    def exact(self) -> bool:
        """Whether the response is the record's output (see `exact_match`)."""
        return exact_match(self.response, self.record["output"])

    @property
    def f1(self) -> float:
        """The `token_f1` of the response."""
        return token_f1(self.response, self.record["output"])

    @property
    def score(self) -> float:
        """`exact` for a record with a "kind", which has one right answer (see `data.instruction_tasks`), else `f1`."""
        return float(self.exact) if "kind" in self.record else self.f1


@dataclass(frozen=True)
class InstructionReport:
    """A model's answers to held-out records, at least one, and the metrics of these answers."""

    answers: Sequence[Answer]

    @property
    def score(self) -> float:
        """The mean score (see `Answer`)."""
        return float(np.mean([answer.score for answer in self.answers]))

    def by_kind(self) -> dict[str, InstructionReport]:
        """A report for each kind of record; records without a kind are of the kind "other"."""
        kinds = sorted({answer.record.get("kind", "other") for answer in self.answers})
        return {
            kind: InstructionReport([answer for answer in self.answers if answer.record.get("kind", "other") == kind])
            for kind in kinds
        }

    def figures(self) -> dict[str, float]:
        """The number of answers, and the means of their scores."""
        return {
            "count": len(self.answers),
            "score": self.score,
            "exact_match": float(np.mean([answer.exact for answer in self.answers])),
            "token_f1": float(np.mean([answer.f1 for answer in self.answers])),
        }

    def to_dict(self) -> dict[str, Any]:
        """The content of a report file, for JSON: the metrics, those of each kind, and the answers."""
        return {
            **self.figures(),
            "kinds": {kind: report.figures() for kind, report in self.by_kind().items()},
            "answers": [
                {**answer.record, "response": answer.response, "score": answer.score} for answer in self.answers
            ],
        }


def constant_answers(training: Sequence[Record], held_out: Sequence[Record]) -> InstructionReport:
    """The baseline: every held-out record is answered by the most frequent training output of its kind.

    A model that is no better has learned the form of the answers, but does not use the instruction.

    Raises: DataError if there are no held-out records
    """
    if not held_out:
        raise DataError("constant_answers: at least one record is needed; got none")
    outputs: dict[str, Counter[str]] = defaultdict(Counter)
    for record in training:
        outputs[record.get("kind", "other")][record["output"]] += 1
    most_frequent = {kind: counts.most_common(1)[0][0] for kind, counts in outputs.items()}
    return InstructionReport(
        [Answer(record, most_frequent.get(record.get("kind", "other"), "")) for record in held_out]
    )


def evaluate_instructions(
    model: Module,
    tokenizer: Tokenizer,
    records: Sequence[Record],
    style: str | PromptForm = "alpaca",
    max_new_tokens: int = 256,
    end_id: EndOfText = END_OF_TEXT_ID,
    batch_size: int = 16,
    progress: Callable[[int, int], None] | None = None,
    workers: int | None = None,
) -> InstructionReport:
    """The model's greedy answers to all records (see `respond`), and their metrics.

    `workers` share the batches, as in `map_in_workers`; `progress(done, total)` is called after each batch.

    Raises: DataError if there are no records; else as `respond`
    """
    if not records:
        raise DataError("evaluate_instructions: at least one record is needed; got none")
    answers: list[Answer] = []
    batches = [records[start : start + batch_size] for start in range(0, len(records), batch_size)]
    asked = partial(respond, model, tokenizer, style=style, max_new_tokens=max_new_tokens, end_id=end_id)
    for batch, responses in zip(batches, map_in_workers(asked, batches, model, workers), strict=True):
        answers += map(Answer, batch, responses)
        if progress is not None:
            progress(len(answers), len(records))
    return InstructionReport(answers)
