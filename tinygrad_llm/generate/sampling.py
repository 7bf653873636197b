"""From logits to the next token: repetition penalty, temperature, top-k, top-p, min-p, and the draw.

A model gives each token of the vocabulary a logit. Each function here takes the logits of a batch and returns them
changed; a logit of -infinity excludes its token. `Sampling` applies the functions in the usual order, given above, so
that each filter works on the tokens that the one before has left.

Ties go to the smaller id, as in `argmax`; so top-k of 1 is greedy, and top-k of 3 never leaves four.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TypedDict

import numpy as np

from tinygrad_llm.arrays import Array
from tinygrad_llm.errors import AnomalyError, ConfigError
from tinygrad_llm.generate.sampling_settings import SamplingSettings
from tinygrad_llm.random import Generator
from tinygrad_llm.settings import setting
from tinygrad_llm.text import Tokenizer


def penalize_repetition(logits: Array, texts: Sequence[Array], penalty: float) -> Array:
    """Lower the logits of the tokens that a row's text already has (Keskar et al. 2019, arXiv:1909.05858).

        logit / penalty  if the logit is positive,    logit · penalty  if it is negative

    The paper always divides; this would raise a negative logit, so negative ones are multiplied.

    Shapes: logits (B, V), texts B arrays (T_i,) of ids -> (B, V)
    """
    logits = logits.copy()
    for row, ids in zip(logits, texts, strict=True):
        seen = row[ids]
        row[ids] = np.where(seen > 0, seen / penalty, seen * penalty)
    return logits


def apply_temperature(logits: Array, temperature: float) -> Array:
    """logits / temperature, for a temperature above 0: below 1 the distribution gets sharper, above 1 flatter.

    The largest logit of a row is subtracted first: this changes no probability, and a small temperature cannot
    overflow.

    Shapes: logits (B, V) -> (B, V)
    """
    smallest = float(np.finfo(logits.dtype).tiny)  # a smaller number would be 0 in float32
    with np.errstate(over="ignore"):
        return (logits - logits.max(axis=-1, keepdims=True)) / max(temperature, smallest)


def keep_top_k(logits: Array, k: int) -> Array:
    """Exclude all but the k largest logits of each row. Shapes: logits (B, V) -> (B, V)"""
    k = min(k, logits.shape[-1])
    return _keep_largest(logits, np.partition(logits, -k, axis=-1)[..., -k, None], k)


def _keep_largest(logits: Array, kth: Array, k: int | Array) -> Array:
    """Exclude all but the k largest logits of each row, of which the smallest is kth; of ties the smaller ids stay.

    Shapes: logits (B, V), kth (B, 1), k () or (B, 1) -> (B, V)
    """
    kept = logits >= kth
    if (np.count_nonzero(kept, axis=-1, keepdims=True) > k).any():
        above, tied = logits > kth, logits == kth
        room = k - np.count_nonzero(above, axis=-1, keepdims=True)
        kept = above | (tied & (tied.cumsum(axis=-1) <= room))
    return np.where(kept, logits, -np.inf)


def keep_top_p(logits: Array, p: float) -> Array:
    """Exclude all but the nucleus: the most likely tokens whose probabilities reach p (Holtzman et al. 2019,
    arXiv:1904.09751), at least one. p = 1 keeps all tokens.

    Only the largest logits are sorted: as many as the nucleus needs, at first 64.

    Shapes: logits (B, V) -> (B, V)
    """
    if p == 1:
        return logits
    vocab_size, count = logits.shape[-1], 64
    largest = logits.max(axis=-1, keepdims=True)
    total = np.exp(logits - largest).sum(axis=-1, keepdims=True)
    while True:
        count = min(count, vocab_size)
        descending = np.sort(np.partition(logits, -count, axis=-1)[..., -count:], axis=-1)[..., ::-1]
        probabilities = np.exp(descending - largest) / total
        before = probabilities.cumsum(axis=-1, dtype=np.float64) - probabilities  # of the more likely tokens together
        nucleus = np.count_nonzero(before < p, axis=-1, keepdims=True)
        if count == vocab_size or nucleus.max() < count:
            return _keep_largest(logits, np.take_along_axis(descending, nucleus - 1, axis=-1), nucleus)
        count *= 8


def keep_min_p(logits: Array, min_p: float) -> Array:
    """Exclude tokens less likely than `min_p` times the most likely (Nguyen et al. 2024, arXiv:2407.01082).

    Few tokens are left where the model is certain, many where it is not.

    Shapes: logits (B, V) -> (B, V)
    """
    if min_p == 0:
        return logits
    return np.where(logits >= logits.max(axis=-1, keepdims=True) + math.log(min_p), logits, -np.inf)


def softmax(logits: Array) -> Array:
    """exp(logit) divided by the row's sum. Shapes: logits (..., V) -> (..., V)"""
    powers = np.exp(logits - logits.max(axis=-1, keepdims=True))
    powers /= powers.sum(axis=-1, keepdims=True)
    return powers


def log_probabilities(logits: Array) -> Array:
    """log softmax(logits) in float64, because it is summed over many tokens. Shapes: logits (..., V) -> (..., V)"""
    shifted = logits.astype(np.float64)
    shifted -= shifted.max(axis=-1, keepdims=True)
    shifted -= np.log(np.exp(shifted).sum(axis=-1, keepdims=True))
    return shifted


class SamplingKeywords(TypedDict, total=False):
    """The settings of `Sampling` as keyword arguments of `generate` and the like."""

    temperature: float
    top_k: int | None
    top_p: float | None
    min_p: float | None
    repetition_penalty: float | None
    vocab_size: int | None


@dataclass(frozen=True)
class Sampling(SamplingSettings):
    """How the next token is chosen: the most likely one at temperature 0, else a draw from the tokens that are left.

    Only ids below `vocab_size` are ever chosen. A model may have more rows than its tokenizer has tokens; an id without
    a token has no text.

    None turns a setting off. Raises ConfigError naming the setting outside its range.
    """

    vocab_size: int | None = setting(None, "number of tokens to choose from (default: all rows of the model)", least=1)

    @classmethod
    def of(cls, owner: str, sampling: Sampling | None, keywords: SamplingKeywords) -> Sampling:
        """`sampling`, or the Sampling of the keyword arguments. Raises ConfigError if both are given."""
        if sampling is None:
            return cls(**keywords)
        if not isinstance(sampling, cls):
            raise ConfigError(
                f"{owner}: sampling must be a Sampling; got {type(sampling).__name__}: give a temperature by its name, "
                "temperature=..."
            )
        if keywords:
            raise ConfigError(f"{owner}: give sampling or {', '.join(keywords)}, not both")
        return sampling

    def limited_to(self, tokenizer: Tokenizer) -> Sampling:
        """The same, for a text that `tokenizer` decodes: no id that it does not know is chosen."""
        known = tokenizer.vocab_size
        return dataclasses.replace(self, vocab_size=known if self.vocab_size is None else min(known, self.vocab_size))

    @property
    def greedy(self) -> bool:
        """Whether the most likely token is always taken."""
        return self.temperature == 0

    def probabilities(self, logits: Array, texts: Sequence[Array]) -> Array:
        """The probability of each token to be chosen next; greedy: 1 for the most likely.

        `texts` are the ids so far, for the repetition penalty.

        Shapes: logits (B, V), texts B arrays (T_i,) -> (B, V)
        Raises: AnomalyError for a row of logits with NaN or infinity, or with no finite logit
        """
        if not np.isfinite(logits.max(axis=-1)).all():
            raise AnomalyError(
                "generate: logits must be numbers below infinity, with one above -infinity in each row; "
                "got NaN or infinity: look at the model's weights"
            )
        for _, changed in self.stages(logits, texts):
            logits = changed
        if self.greedy:
            chosen = np.zeros_like(logits)
            np.put_along_axis(chosen, logits.argmax(axis=-1, keepdims=True), 1, axis=-1)
            return chosen
        return softmax(logits)

    def stages(self, logits: Array, texts: Sequence[Array]) -> Iterator[tuple[str, Array]]:
        """The logits after each setting that is on, with its name, in the order in which they apply.

        Shapes: logits (B, V), texts B arrays (T_i,) -> (B, V) for each setting
        """
        if self.vocab_size is not None and self.vocab_size < logits.shape[-1]:
            logits = logits.copy()
            logits[:, self.vocab_size :] = -np.inf
            yield "vocab_size", logits
        if self.repetition_penalty is not None:
            logits = penalize_repetition(logits, texts, self.repetition_penalty)
            yield "repetition_penalty", logits
        if self.greedy:
            return
        logits = apply_temperature(logits, self.temperature)
        yield "temperature", logits
        for name, keep in (("top_k", keep_top_k), ("top_p", keep_top_p), ("min_p", keep_min_p)):
            value = getattr(self, name)
            if value is not None:
                logits = keep(logits, value)
                yield name, logits

    def choose(self, logits: Array, texts: Sequence[Array], generator: Generator) -> Array:
        """The next token of each row. Greedy decoding takes no number from `generator`.

        Shapes: logits (B, V), texts B arrays (T_i,) -> (B,)
        """
        probabilities = self.probabilities(logits, texts)
        if self.greedy:
            return probabilities.argmax(axis=-1)
        return generator.multinomial(probabilities)[:, 0]
