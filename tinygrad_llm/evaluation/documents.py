"""Perplexity of documents of any length, over rolling windows.

Every token is predicted once. The first window begins with the model's prefix token; each later one repeats `overlap`
tokens of the window before it (1, as in lm-evaluation-harness), and the last one reaches back to fill the context:

    tokens     1 2 3 4 5 6 7 8 9 10        context of 4 tokens, overlap 1
    window 1   P 1 2 3 → 1 2 3 4
    window 2   4 5 6 7 → 5 6 7 8
    window 3   6 7 8 9 →     9 10

    word_perplexity = exp(-Σ ln p / words),    byte_perplexity likewise,    bits_per_byte = log₂ byte_perplexity

Words are separated by white space. These do not depend on the tokenizer; token_perplexity, as training logs it, does.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from tinygrad_llm.checks import expect_count
from tinygrad_llm.data.padding import begin_ids, pad_right
from tinygrad_llm.errors import ConfigError, DataError
from tinygrad_llm.evaluation.prompts import encode_text
from tinygrad_llm.evaluation.reports import Metric, TaskReport, ratio_error
from tinygrad_llm.evaluation.scoring import token_scores
from tinygrad_llm.evaluation.task_files import DOCUMENTS, Document
from tinygrad_llm.formats.strict_json import shown
from tinygrad_llm.text import Tokenizer
from tinygrad_llm.train import evaluating, perplexity
from tinygrad_llm.train.parallel.mapping import map_in_workers

TOKENS_AT_ONCE = 4096  # of all windows that are read together


class Window(NamedTuple):
    """Token ids, of which the last `predicted` are scored."""

    ids: list[int]
    predicted: int


def rolling_windows(ids: Sequence[int], prefix: int, longest: int, overlap: int = 1) -> list[Window]:
    """Windows of at most `longest` tokens to read, and one more to predict, that score each id once.

    Units:  longest and overlap in tokens
    Raises: ConfigError unless 1 <= overlap <= longest

    >>> [window for window in rolling_windows([1, 2, 3, 4, 5, 6], prefix=0, longest=4)]
    [Window(ids=[0, 1, 2, 3, 4], predicted=4), Window(ids=[2, 3, 4, 5, 6], predicted=2)]
    """
    expect_count("rolling_windows", "longest", longest)
    expect_count("rolling_windows", "overlap", overlap)
    if overlap > longest:
        raise ConfigError(f"rolling_windows: overlap must be at most longest; got {overlap} and {longest}")
    ids = list(ids)
    windows = [Window([prefix, *ids[:longest]], min(longest, len(ids)))] if ids else []
    for start in range(longest, len(ids), longest - overlap + 1):
        end = min(start + longest - overlap + 1, len(ids))
        windows.append(Window(ids[end - longest - 1 : end], end - start))
    return windows


@dataclass(frozen=True)
class ScoredDocument:
    """A document's log-likelihood and sizes. Units: log_likelihood in nats"""

    text: str
    log_likelihood: float
    tokens: int
    windows: int

    @property
    def words(self) -> int:
        """The number of pieces between white space, those at the ends included even where they are empty."""
        return len(re.split(r"\s+", self.text))

    @property
    def bytes(self) -> int:
        """The number of bytes of the text in UTF-8."""
        return len(self.text.encode())

    @property
    def bits_per_byte(self) -> float:
        return -self.log_likelihood / math.log(2) / self.bytes

    def to_dict(self) -> dict[str, Any]:
        """The sample as JSON can hold it."""
        return {
            "prompt": "",
            "text": self.text,
            "log_likelihood": self.log_likelihood,
            "bits_per_byte": self.bits_per_byte,
            "tokens": self.tokens,
            "words": self.words,
            "bytes": self.bytes,
            "windows": self.windows,
        }


def encode_document(tokenizer: Tokenizer, document: Document, origin: str) -> list[int]:
    """The ids of a document.

    Raises: DataError naming the `origin` of a text without a token; as `encode_text`
    """
    ids = begin_ids(tokenizer) + encode_text(tokenizer, document.text, origin)
    if not ids:
        raise DataError(f"{origin}: a document must have a token of the model's tokenizer; got {shown(document.text)}")
    return ids


def evaluate_documents(
    model: Any,
    tokenizer: Tokenizer,
    documents: Sequence[Document],
    prefix: int,
    longest: int | None = None,
    overlap: int = 1,
    log: Callable[[ScoredDocument], None] | None = None,
    progress: Callable[[int, int], None] | None = None,
    encoded: Sequence[Sequence[int]] | None = None,
) -> TaskReport:
    """The perplexity of the documents together. `log` is called with each; `progress(done, total)` counts windows.

    `encoded`: what `encode_document` gave for each document, where it has been called already.

    Units:  longest and overlap in tokens; `longest` is at most the model's context, the default
    Raises: DataError if there is no document, or as `encode_document`; ConfigError as `rolling_windows`; AnomalyError
            for logits that are not finite
    """
    if encoded is None:
        encoded = [encode_document(tokenizer, document, f"document {n}") for n, document in enumerate(documents)]
    context = int(model.config.context_length)
    longest = context if longest is None else min(longest, context)
    windows = [
        (number, window)
        for number, ids in enumerate(encoded)
        for window in rolling_windows(ids, prefix, longest, overlap)
    ]
    together = max(1, TOKENS_AT_ONCE // longest)
    batches = [windows[first : first + together] for first in range(0, len(windows), together)]
    sums, tokens, counts = np.zeros(len(documents)), [0] * len(documents), [0] * len(documents)
    left = Counter(number for number, _ in windows)
    samples: list[ScoredDocument] = []
    done = 0
    for batch, scores in zip(batches, map_in_workers(partial(_scores, model), batches, model), strict=True):
        for (number, window), score in zip(batch, scores, strict=True):
            sums[number] += score
            tokens[number] += window.predicted
            counts[number] += 1
            if counts[number] == left[number]:
                samples.append(ScoredDocument(documents[number].text, sums[number], tokens[number], counts[number]))
                if log is not None:
                    log(samples[-1])
        done += len(batch)
        if progress is not None:
            progress(done, len(windows))
    return document_report(samples)


def _scores(model: Any, batch: Sequence[tuple[int, Window]]) -> list[float]:
    """The log-likelihood of each window's predicted tokens. Units: nats"""
    rows = [window.ids for _, window in batch]
    ends = np.array([[len(row)] for row in rows])
    counts = np.array([[window.predicted] for _, window in batch])
    ids = pad_right(rows, int(ends.max()), 0)
    column = np.arange(1, ids.shape[1])
    wanted = (column < ends) & (column >= ends - counts)
    with evaluating(model):
        hidden = model.hidden(ids[:, :-1]).data
        log_probs, _ = token_scores(model, hidden[wanted], ids[:, 1:][wanted])
    return [float(part.sum()) for part in np.split(log_probs, np.cumsum(counts)[:-1])]


def document_report(samples: Sequence[ScoredDocument]) -> TaskReport:
    """The metrics over all documents together; standard errors by `ratio_error`. Raises: DataError if there are none"""
    if not samples:
        raise DataError("evaluate_documents: at least one document is needed; got none")
    losses = [-sample.log_likelihood for sample in samples]
    metrics = {}
    for unit in ("word", "byte", "token"):
        sizes = [getattr(sample, f"{unit}s") for sample in samples]
        loss, error = sum(losses) / sum(sizes), ratio_error(losses, sizes)
        value = perplexity(loss)
        metrics[f"{unit}_perplexity"] = Metric(value, None if error is None else value * error, share=False)
        if unit == "byte":
            bits_error = None if error is None else error / math.log(2)
            metrics["bits_per_byte"] = Metric(loss / math.log(2), bits_error, share=False)
    notes = {name: sum(getattr(sample, name) for sample in samples) for name in ("words", "bytes", "tokens", "windows")}
    return TaskReport(DOCUMENTS, len(samples), metrics, notes)
