"""Generate and match: the model writes an answer until a stop string, and the answer is compared with the right ones.

With several sampled answers per question the most frequent one counts (self-consistency, Wang et al. 2022,
arXiv:2203.11171), and pass@1 and pass@N say how often one answer, and any of N, is right.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from tinygrad_llm.arrays import Array
from tinygrad_llm.errors import ConfigError, DataError
from tinygrad_llm.evaluation.matching import extract, matches
from tinygrad_llm.evaluation.prompts import BLANK_LINE, EncodedQuestion, Prompts
from tinygrad_llm.evaluation.reports import TaskReport, mean_metric
from tinygrad_llm.evaluation.task_files import ANSWERS, Question
from tinygrad_llm.evaluation.task_settings import TaskSettings
from tinygrad_llm.finetune.inference_scaling import majority_answer
from tinygrad_llm.generate import Sampling
from tinygrad_llm.generate.decoding import each_step
from tinygrad_llm.generate.decoding_state import prompts_of
from tinygrad_llm.generate.seeded_batches import SeededBatch, seeded_batches
from tinygrad_llm.generate.streaming import expect_stops
from tinygrad_llm.random import Generator
from tinygrad_llm.text import StreamDecoder, Tokenizer
from tinygrad_llm.train.parallel.mapping import map_in_workers

USUAL_LENGTH = 256  # tokens of an answer, as in lm-evaluation-harness
QUESTIONS_TOGETHER, ANSWERS_TOGETHER = 16, 64  # decoded as one batch, at most


def generate_until(
    model: Any,
    tokenizer: Tokenizer,
    prompts: Sequence[Sequence[int]],
    max_new_tokens: int,
    stop: Sequence[str] = (),
    end_ids: Collection[int] = (),
    sampling: Sampling | None = None,
    generator: Generator | None = None,
    copies: int = 1,
) -> list[str]:
    """The text after each prompt up to a `stop` string, one of `end_ids` or `max_new_tokens`; all in one batch.

    A text leaves the batch when it ends. A prompt that leaves no room for the answer in the model's context is cut at
    its beginning. With `copies`, that many answers for each prompt, prompt by prompt.

    Units:  max_new_tokens in tokens
    Raises: ConfigError for a max_new_tokens that is not below the model's context, or an empty stop string; else as
            `generate`
    """
    room = model.config.context_length - max_new_tokens
    if max_new_tokens < 1 or room < 1:
        raise ConfigError(
            f"generate_until: max_new_tokens must be at least 1 and below the context, {model.config.context_length} "
            f"tokens; got {max_new_tokens}"
        )
    stops = expect_stops("generate_until: stop", stop)
    read: list[Array] = prompts_of("generate_until", model, [list(prompt)[-room:] for prompt in prompts])
    decoders = [StreamDecoder(tokenizer, after=prompt) for prompt in read for _ in range(copies)]
    texts = [""] * len(decoders)

    def stopped(row: int, token: int) -> bool:
        texts[row] += decoders[row].push(token)
        return any(one in texts[row] for one in stops)

    sampling = (Sampling() if sampling is None else sampling).limited_to(tokenizer)
    for _ in each_step(
        model, read, max_new_tokens, sampling, frozenset(end_ids), generator, True, True, copies, stopped
    ):
        pass
    texts = [text + decoder.finish() for text, decoder in zip(texts, decoders, strict=True)]
    for one in stops:
        texts = [text.split(one, 1)[0] for text in texts]
    return texts


@dataclass(frozen=True)
class AnsweredQuestion:
    """A question, the model's responses, and what was extracted from each; `right` tells which of these match."""

    question: Question
    prompt: str
    responses: list[str]
    extracted: list[str]
    right: list[bool]

    @property
    def prediction(self) -> str:
        """The most frequent extracted answer."""
        return majority_answer(self.extracted)

    @property
    def correct(self) -> bool:
        return self.right[self.extracted.index(self.prediction)]

    def to_dict(self) -> dict[str, Any]:
        """The sample as JSON can hold it."""
        return {
            "prompt": self.prompt,
            "answers": list(self.question.answers),
            "responses": self.responses,
            "extracted": self.extracted,
            "prediction": self.prediction,
            "correct": self.correct,
        }


def evaluate_answers(
    model: Any,
    prompts: Prompts,
    questions: Sequence[Question],
    shots: Sequence[Question] = (),
    settings: TaskSettings | None = None,
    end_ids: Collection[int] = (),
    seed: int = 0,
    log: Callable[[AnsweredQuestion], None] | None = None,
    encoded: Sequence[EncodedQuestion] | None = None,
) -> TaskReport:
    """Generate an answer to each question, with the answered `shots` before it. `log` is called with each sample.

    `encoded`: what `prompts.encode` gave for each question, where it has been called already.

    Raises: DataError if there is no question; else as `generate_until`
    """
    settings = TaskSettings() if settings is None else settings
    length = settings.max_new_tokens or max(1, min(USUAL_LENGTH, model.config.context_length // 2))
    stop = settings.stop or ((BLANK_LINE,) if prompts.form is None else ())
    sampling = Sampling(temperature=settings.temperature if settings.votes > 1 else 0.0)
    together = max(1, QUESTIONS_TOGETHER // settings.votes)
    encoded = [prompts.encode(shots, question) for question in questions] if encoded is None else encoded
    asked = [(question, ids.context) for question, ids in zip(questions, encoded, strict=True)]
    answered = partial(_answered, model, prompts.tokenizer, settings, length, stop, end_ids, sampling)
    samples: list[AnsweredQuestion] = []
    for part in map_in_workers(answered, seeded_batches(asked, together, seed), model):
        for sample in part:
            samples.append(sample)
            if log is not None:
                log(sample)
    return answer_report(samples, len(shots))


def _answered(
    model: Any,
    tokenizer: Tokenizer,
    settings: TaskSettings,
    length: int,
    stop: Sequence[str],
    end_ids: Collection[int],
    sampling: Sampling,
    batch: SeededBatch[tuple[Question, list[int]]],
) -> list[AnsweredQuestion]:
    """The answers to a batch of questions, each given with the ids of its prompt."""
    prompts, generator = [ids for _, ids in batch.questions], batch.generator()
    several: list[list[str]] = [[] for _ in prompts]
    for done in range(0, settings.votes, ANSWERS_TOGETHER):
        copies = min(settings.votes - done, ANSWERS_TOGETHER)
        texts = generate_until(model, tokenizer, prompts, length, stop, end_ids, sampling, generator, copies)
        for place, responses in enumerate(several):
            responses += texts[place * copies : (place + 1) * copies]
    samples = []
    for (question, ids), responses in zip(batch.questions, several, strict=True):
        extracted = [extract(response, settings) for response in responses]
        right = [matches(one, question.answers, settings) for one in extracted]
        samples.append(AnsweredQuestion(question, tokenizer.decode(ids), responses, extracted, right))
    return samples


def answer_report(samples: Sequence[AnsweredQuestion], shots: int = 0) -> TaskReport:
    """Exact match over all samples, and pass@1 and pass@N with N votes. Raises: DataError if there are none"""
    if not samples:
        raise DataError("evaluate_answers: at least one question is needed; got none")
    metrics = {"exact_match": mean_metric([sample.correct for sample in samples])}
    votes = len(samples[0].responses)
    if votes > 1:
        metrics["pass@1"] = mean_metric([sum(sample.right) / votes for sample in samples])
        metrics[f"pass@{votes}"] = mean_metric([any(sample.right) for sample in samples])
    return TaskReport(ANSWERS, len(samples), metrics, {"shots": shots, "votes": votes})
