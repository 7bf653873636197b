"""From logits to the next token: temperature, what narrows the choice, and the draw.

A model gives each token of the vocabulary a logit. Each function here takes the logits of a batch, shapes (B, V), and
gives them back changed; -infinity means: never. `Sampling` applies them in the usual order, so that each narrows what
the one before has left: repetition penalty, temperature, top-k, top-p, min-p.

Ties go to the smaller id, as in `argmax`; so top-k of 1 is greedy, and top-k of 3 never leaves four.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tinygrad_llm.arrays import Array
from tinygrad_llm.checks import expect_count, is_number
from tinygrad_llm.errors import AnomalyError, ConfigError
from tinygrad_llm.random import Generator


def penalize_repetition(logits: Array, texts: Sequence[Array], penalty: float) -> Array:
    """Make every token that row's text already holds less likely (Keskar et al. 2019, arXiv:1909.05858).

        logit / penalty where it is positive, logit · penalty where it is negative

    The paper divides; that would raise a negative logit, so those are multiplied.

    Shapes: logits (B, V), texts B rows of ids -> (B, V)
    """
    logits = logits.copy()
    for row, ids in zip(logits, texts, strict=True):
        seen = row[ids]
        row[ids] = np.where(seen > 0, seen / penalty, seen * penalty)
    return logits


def apply_temperature(logits: Array, temperature: float) -> Array:
    """logits / temperature, which must be above 0: below 1 the likely grow likelier, above 1 all grow alike.

    The largest logit of a row is subtracted first, which no probability notices and no small temperature overflows.

    Shapes: (B, V) -> the same
    """
    smallest = float(np.finfo(logits.dtype).tiny)  # what is less would be 0 in float32
    with np.errstate(over="ignore"):
        return (logits - logits.max(axis=-1, keepdims=True)) / max(temperature, smallest)


def keep_top_k(logits: Array, k: int) -> Array:
    """Only the k largest logits of each row. Shapes: (B, V) -> the same."""
    k = min(k, logits.shape[-1])
    kth = np.partition(logits, -k, axis=-1)[..., -k, None]
    above, tied = logits > kth, logits == kth
    room = k - np.count_nonzero(above, axis=-1, keepdims=True)
    return np.where(above | (tied & (tied.cumsum(axis=-1) <= room)), logits, -np.inf)


def keep_top_p(logits: Array, p: float) -> Array:
    """Only the likeliest tokens that together reach probability p, the "nucleus" (Holtzman et al. 2019,
    arXiv:1904.09751): as many as it takes, at least one. p = 1 keeps all. Shapes: (B, V) -> the same.
    """
    if p == 1:
        return logits
    likeliest_first = np.argsort(-logits, axis=-1, kind="stable")
    probabilities = np.take_along_axis(softmax(logits), likeliest_first, axis=-1)
    before = probabilities.cumsum(axis=-1, dtype=np.float64) - probabilities  # the mass of the likelier ones
    kept = np.empty(logits.shape, bool)
    np.put_along_axis(kept, likeliest_first, before < p, axis=-1)
    return np.where(kept, logits, -np.inf)


def keep_min_p(logits: Array, min_p: float) -> Array:
    """Only tokens at least `min_p` times as likely as the likeliest (Nguyen et al. 2024, arXiv:2407.01082).

    Where the model is sure few remain, where it is not many. Shapes: (B, V) -> the same.
    """
    if min_p == 0:
        return logits
    return np.where(logits >= logits.max(axis=-1, keepdims=True) + math.log(min_p), logits, -np.inf)


def softmax(logits: Array) -> Array:
    """e^logit over the row's sum. Shapes: (..., V) -> the same."""
    powers = np.exp(logits - logits.max(axis=-1, keepdims=True))
    powers /= powers.sum(axis=-1, keepdims=True)
    return powers


@dataclass(frozen=True)
class Sampling:
    """How the next token is chosen: the likeliest at temperature 0, else drawn from what the settings leave.

    `temperature` is at least 0; `top_k` a count of at least 1; `top_p` in (0, 1]; `min_p` in [0, 1];
    `repetition_penalty` above 0, 1 for none. None leaves out. Raises ConfigError naming the setting that does not fit.
    """

    temperature: float = 0.0
    top_k: int | None = None
    top_p: float | None = None
    min_p: float | None = None
    repetition_penalty: float | None = None

    def __post_init__(self) -> None:
        _expect("temperature", self.temperature, "a finite number of at least 0", lambda x: 0 <= x < math.inf)
        _expect("top_p", self.top_p, "a probability in (0, 1]", lambda x: 0 < x <= 1, optional=True)
        _expect("min_p", self.min_p, "a probability in [0, 1]", lambda x: 0 <= x <= 1, optional=True)
        _expect(
            "repetition_penalty",
            self.repetition_penalty,
            "a finite number above 0, 1 for none",
            lambda x: 0 < x < math.inf,
            optional=True,
        )
        if self.top_k is not None:
            expect_count("generate", "top_k", self.top_k, at_least=1)

    @property
    def greedy(self) -> bool:
        return self.temperature == 0

    def probabilities(self, logits: Array, texts: Sequence[Array]) -> Array:
        """The chance that each token comes next; greedy: 1 for the likeliest.

        `texts` are the ids before, for the repetition penalty. Shapes: logits (B, V), texts B rows -> (B, V)
        Raises: AnomalyError for logits that are NaN or infinite, or leave nothing to choose
        """
        if not np.isfinite(logits.max(axis=-1)).all():
            raise AnomalyError(
                "generate: logits must be numbers below infinity, with one above -infinity in each row; "
                "got NaN or infinity: look at the model's weights"
            )
        if self.repetition_penalty is not None:
            logits = penalize_repetition(logits, texts, self.repetition_penalty)
        if self.greedy:
            chosen = np.zeros_like(logits)
            np.put_along_axis(chosen, logits.argmax(axis=-1, keepdims=True), 1, axis=-1)
            return chosen
        logits = apply_temperature(logits, self.temperature)
        if self.top_k is not None:
            logits = keep_top_k(logits, self.top_k)
        if self.top_p is not None:
            logits = keep_top_p(logits, self.top_p)
        if self.min_p is not None:
            logits = keep_min_p(logits, self.min_p)
        return softmax(logits)

    def choose(self, logits: Array, texts: Sequence[Array], generator: Generator) -> Array:
        """The next token of each row; `generator` is asked unless greedy. Shapes: (B, V), B rows of ids -> (B,)"""
        probabilities = self.probabilities(logits, texts)
        if self.greedy:
            return probabilities.argmax(axis=-1)
        return generator.multinomial(probabilities)[:, 0]


def _expect(name: str, value: Any, allowed: str, fits: Any, optional: bool = False) -> None:
    if value is None and optional:
        return
    if not is_number(value) or not fits(value):
        raise ConfigError(f"generate: {name} must be {allowed}; got {value!r}")
