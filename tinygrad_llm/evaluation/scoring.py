"""Log-likelihoods of continuations: ln p(continuation | context), for several continuations of one context.

A context is read once into a KV cache, for all its continuations, and the next context reads only the tokens that it
does not share with the one before: with examples in the prompt, that is the last question.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from tinygrad_llm.arrays import Array
from tinygrad_llm.data.padding import pad_right
from tinygrad_llm.errors import AnomalyError
from tinygrad_llm.train import evaluating

LOGITS_AT_ONCE = 512  # tokens: their logits are (512, V) numbers


class Score(NamedTuple):
    """The sum of the tokens' log-probabilities, the number of tokens, and whether each is the model's most likely one.

    Units: log_likelihood in nats
    """

    log_likelihood: float
    tokens: int
    greedy: bool


def token_scores(model: Any, hidden: Array, ids: Array) -> tuple[Array, Array]:
    """ln p of the token that follows each hidden state, in float64, and whether it is the most likely one.

    Shapes: hidden (N, C), ids (N,) -> (N,), (N,)
    Raises: AnomalyError for logits that are not finite
    """
    log_probs, greedy = np.empty(len(ids)), np.empty(len(ids), bool)
    for first in range(0, len(ids), LOGITS_AT_ONCE):
        part = slice(first, first + LOGITS_AT_ONCE)
        logits = model.head(hidden[part]).data
        largest = logits.max(axis=-1)
        chosen = np.take_along_axis(logits, ids[part, None], axis=-1)[:, 0]
        total = np.exp(logits - largest[:, None]).sum(axis=-1, dtype=np.float64)
        log_probs[part] = chosen.astype(np.float64) - largest - np.log(total)
        greedy[part] = logits.argmax(axis=-1) == ids[part]
    if not np.isfinite(log_probs).all():
        raise AnomalyError("evaluation: the model's log-probabilities must be finite; its training diverged")
    return log_probs, greedy


class ContextReader:
    """Scores continuations with one model, whose cache keeps the last context.

    `longest` is the most tokens that are read at once, at most the model's context (the default). A text that is longer
    is cut at its beginning, as in lm-evaluation-harness; the last token is only predicted, never read.
    """

    def __init__(self, model: Any, longest: int | None = None) -> None:
        context = int(model.config.context_length)
        self.model, self.longest = model, context if longest is None else min(longest, context)
        self._cache, self._read = model.new_cache(), list[int]()

    def cuts(self, context: Sequence[int], continuations: Sequence[Sequence[int]]) -> bool:
        """Whether the context is cut for the longest continuation."""
        return len(context) + max(map(len, continuations)) > self.longest + 1

    def score(self, context: Sequence[int], continuations: Sequence[Sequence[int]]) -> list[Score] | None:
        """The score of each continuation; None if one alone is longer than `longest`.

        Shapes: a context of at least one id; continuations of at least one id each
        Raises: AnomalyError for logits that are not finite
        """
        if max(map(len, continuations)) > self.longest:
            return None
        if not self.cuts(context, continuations):
            return self._score(list(context), continuations)
        scores = []  # how much is cut depends on the continuation
        for continuation in continuations:
            room = self.longest + 1 - len(continuation)
            scores += self._score(list(context[-room:]), [continuation])
        return scores

    def _score(self, context: list[int], continuations: Sequence[Sequence[int]]) -> list[Score]:
        with evaluating(self.model):
            last = self._read_context(context)
            width = max(map(len, continuations)) - 1
            hidden = np.repeat(last[None], len(continuations), axis=0)
            if width:
                branches = self._cache.branch(np.zeros(len(continuations), np.int64))
                ids = pad_right([continuation[:-1] for continuation in continuations], width, 0)
                hidden = np.concatenate([hidden, self.model.hidden(ids, branches).data], axis=1)
            wanted = np.arange(width + 1) < np.array([[len(one)] for one in continuations])
            ids = np.array([token for one in continuations for token in one])
            log_probs, greedy = token_scores(self.model, hidden[wanted], ids)
        ends = np.cumsum([len(one) for one in continuations])[:-1]
        return [
            Score(float(part.sum()), len(part), bool(best.all()))
            for part, best in zip(np.split(log_probs, ends), np.split(greedy, ends), strict=True)
        ]

    def _read_context(self, context: list[int]) -> Array:
        """The hidden state of the context's last token. Shapes: -> (1, C)"""
        shared = 0
        for old, new in zip(self._read, context[:-1], strict=False):
            if old != new:
                break
            shared += 1
        self._cache.truncate(shared)
        self._read = []  # what the cache holds is uncertain until the context has been read
        hidden = self.model.hidden(np.array([context[self._cache.length :]]), self._cache).data
        self._read = context
        return np.asarray(hidden[0, -1:])
