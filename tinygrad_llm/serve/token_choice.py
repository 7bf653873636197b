"""The choice of one text's next token, as its request wants it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from tinygrad_llm.arrays import Array
from tinygrad_llm.errors import AnomalyError
from tinygrad_llm.generate import Sampling
from tinygrad_llm.generate.sampling import log_probabilities
from tinygrad_llm.random import Generator

NO_TEXT = np.zeros(0, np.int64)


class Token(NamedTuple):
    """A chosen token; where the request wants them, its log-probability and the most likely tokens with theirs.

    Units: log-probabilities in nats, of the model itself: before temperature, penalties and biases
    """

    id: int
    log_prob: float | None = None
    top: tuple[tuple[int, float], ...] = ()


@dataclass(frozen=True)
class Choosing:
    """How tokens are chosen. The penalties are OpenAI's: they count the tokens of the answer, not those of the prompt.

    `top` is the number of most likely tokens to report; None reports no log-probability at all. These are of the tokens
    below the sampling's `vocab_size`.
    """

    sampling: Sampling
    presence_penalty: float = 0.0
    frequency_penalty: float = 0.0
    bias: Mapping[int, float] = field(default_factory=dict)
    top: int | None = None

    def choose(self, logits: Array, prompt: Sequence[int], answer: Sequence[int], generator: Generator) -> Token:
        """The token after a prompt and the answer so far. Shapes: logits (V,)"""
        texts = [np.array([*prompt, *answer]) if self.sampling.repetition_penalty is not None else NO_TEXT]
        token = int(self.sampling.choose(self.changed(logits, answer)[None], texts, generator)[0])
        return self.reported(token, logits)

    def changed(self, logits: Array, answer: Sequence[int]) -> Array:
        """The logits with penalties and biases:

            logit - presence_penalty · [the answer has the token] - frequency_penalty · (how often) + bias

        Shapes: logits (V,) -> (V,)
        """
        if not (self.bias or (answer and (self.presence_penalty or self.frequency_penalty))):
            return logits
        logits = logits.copy()
        for token, count in Counter(answer).items():
            logits[token] -= self.presence_penalty + self.frequency_penalty * count
        for token, bias in self.bias.items():
            logits[token] += bias
        return logits

    def reported(self, token: int, logits: Array) -> Token:
        """The token with its log-probability and the most likely tokens, if they are wanted.

        Shapes: logits (V,), the model's own. Raises: AnomalyError for NaN or infinity, which JSON cannot express
        """
        if self.top is None:
            return Token(token)
        log_probs = log_probabilities(logits[: self.sampling.vocab_size])
        if np.isnan(log_probs[token]):
            raise AnomalyError(
                "logprobs: logits must be numbers below infinity; got NaN or infinity: look at the model"
            )
        return Token(token, float(log_probs[token]), most_likely(log_probs, self.top))


def most_likely(log_probs: Array, count: int) -> tuple[tuple[int, float], ...]:
    """The most likely tokens, of ties the smaller ids first. Shapes: log_probs (V,)"""
    if not count:
        return ()
    count = min(count, len(log_probs))
    least = np.partition(log_probs, -count)[-count]
    candidates = np.flatnonzero(log_probs >= least)
    order = candidates[np.argsort(-log_probs[candidates], kind="stable")][:count]
    return tuple((int(token), float(log_probs[token])) for token in order)
