"""A model that follows instructions: its answers, and how good they are.

The training itself is language modelling on batches of `data.collate_instructions`: a `Trainer` needs nothing else.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Unpack

import numpy as np

from tinygrad_llm.data.instructions import Record, prompt_style
from tinygrad_llm.data.padding import END_OF_TEXT_ID
from tinygrad_llm.errors import DataError, ShapeError
from tinygrad_llm.finetune.metrics import exact_match, token_f1
from tinygrad_llm.generate import Sampling, generate
from tinygrad_llm.generate.sampling import SamplingKeywords
from tinygrad_llm.nn import Module
from tinygrad_llm.random import Generator
from tinygrad_llm.text import Tokenizer


def respond(
    model: Any,
    tokenizer: Tokenizer,
    records: Sequence[Record],
    style: str = "alpaca",
    max_new_tokens: int = 256,
    end_id: int | None = END_OF_TEXT_ID,
    sampling: Sampling | None = None,
    generator: Generator | None = None,
    **keywords: Unpack[SamplingKeywords],
) -> list[str]:
    """The model's answer to each record's question: up to `end_id`, the id that training padded with.

    Decoding is greedy unless `sampling` says otherwise (see `generate`). No answer is longer than the
    context: a model that goes on and on has lost sight of the question by then.

    Units:  max_new_tokens in tokens
    Raises: ShapeError for a question that leaves no room for an answer in the model's context
    """
    written = prompt_style(style)
    questions = [np.array(tokenizer.encode_ordinary(written.question(record))) for record in records]
    longest = max(map(len, questions), default=0)
    if longest >= model.config.context_length:
        raise ShapeError(
            f"respond: a question must be shorter than the context, {model.config.context_length} tokens; "
            f"got {longest}: shorten it, or train a model with a longer context"
        )
    most = min(max_new_tokens, model.config.context_length)
    texts = generate(
        model, questions, most, Sampling.of("respond", sampling, keywords), eos_id=end_id, generator=generator
    )
    return [tokenizer.decode(text[len(question) :]).strip() for text, question in zip(texts, questions, strict=True)]


@dataclass(frozen=True)
class Answer:
    """A record and what a model answered.

    `score` is 1 or 0 for an exact match where the answer is a fact of the question's own string, which a record with
    a "kind" promises (see `data.instruction_tasks`), and else `token_f1`, for there are many good answers.
    """

    record: Record
    response: str

    @property
    def exact(self) -> bool:
        return exact_match(self.response, self.record["output"])

    @property
    def f1(self) -> float:
        return token_f1(self.response, self.record["output"])

    @property
    def score(self) -> float:
        return float(self.exact) if "kind" in self.record else self.f1


@dataclass(frozen=True)
class InstructionReport:
    """A model's answers to held-out records, at least one, and their figures."""

    answers: Sequence[Answer]

    @property
    def score(self) -> float:
        """The mean score (see `Answer`)."""
        return float(np.mean([answer.score for answer in self.answers]))

    def by_kind(self) -> dict[str, InstructionReport]:
        """A report for each kind of record; those without one count as "other"."""
        kinds = sorted({answer.record.get("kind", "other") for answer in self.answers})
        return {
            kind: InstructionReport([answer for answer in self.answers if answer.record.get("kind", "other") == kind])
            for kind in kinds
        }

    def figures(self) -> dict[str, float]:
        return {
            "count": len(self.answers),
            "score": self.score,
            "exact_match": float(np.mean([answer.exact for answer in self.answers])),
            "token_f1": float(np.mean([answer.f1 for answer in self.answers])),
        }

    def to_dict(self) -> dict[str, Any]:
        """All of it as JSON can hold it: what a report file says."""
        return {
            **self.figures(),
            "kinds": {kind: report.figures() for kind, report in self.by_kind().items()},
            "answers": [
                {**answer.record, "response": answer.response, "score": answer.score} for answer in self.answers
            ],
        }


def constant_answers(training: Sequence[Record], held_out: Sequence[Record]) -> InstructionReport:
    """The yardstick: who answers every held-out record of a kind alike, as most training records of that kind are.

    A model that is no better has learned what answers look like, not what was asked.

    Raises: DataError where there are no records to answer
    """
    if not held_out:
        raise DataError("constant_answers: at least one record is needed; got none")
    outputs: dict[str, Counter[str]] = defaultdict(Counter)
    for record in training:
        outputs[record.get("kind", "other")][record["output"]] += 1
    commonest = {kind: counts.most_common(1)[0][0] for kind, counts in outputs.items()}
    return InstructionReport([Answer(record, commonest.get(record.get("kind", "other"), "")) for record in held_out])


def evaluate_instructions(
    model: Module,
    tokenizer: Tokenizer,
    records: Sequence[Record],
    style: str = "alpaca",
    max_new_tokens: int = 256,
    end_id: int | None = END_OF_TEXT_ID,
    batch_size: int = 16,
    progress: Callable[[int, int], None] | None = None,
) -> InstructionReport:
    """Let the model answer every record, always taking the likeliest token, and report how well it did.

    `progress(done, total)` is called after each batch. Raises DataError where there are no records.
    """
    if not records:
        raise DataError("evaluate_instructions: at least one record is needed; got none")
    answers: list[Answer] = []
    for start in range(0, len(records), batch_size):
        batch = records[start : start + batch_size]
        responses = respond(model, tokenizer, batch, style, max_new_tokens, end_id)
        answers += map(Answer, batch, responses)
        if progress is not None:
            progress(len(answers), len(records))
    return InstructionReport(answers)
