"""Decoding explained: for each new token the candidates, how surprising the choice was, and what each setting cut."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from tinygrad_llm.arrays import Array
from tinygrad_llm.generate.decodable import Decodable
from tinygrad_llm.generate.decoding_state import DecodingState, prompts_of
from tinygrad_llm.generate.ending import EndOfText, end_ids
from tinygrad_llm.generate.sampling import Sampling, softmax
from tinygrad_llm.random import Generator, default_generator


@dataclass(frozen=True)
class Choice:
    """One chosen token.

    `probability` is the model's own, `chance` the one after all settings. `candidates` are ids, most likely first, each
    with both. `left` names each setting that was on, with the number of tokens it left; `spread` is the number of
    equally likely tokens with the same entropy, before and after the temperature.
    """

    token: int
    probability: float
    chance: float
    rank: int
    candidates: list[tuple[int, float, float]]
    left: dict[str, int]
    spread: tuple[float, float]

    @property
    def surprise(self) -> float:
        """-ln probability. Units: nats"""
        return float(-np.log(max(self.probability, 1e-300)))


def explain(
    model: Decodable,
    ids: Any,
    max_new_tokens: int,
    sampling: Sampling,
    *,
    eos_id: EndOfText = None,
    generator: Generator | None = None,
    candidates: int = 5,
) -> Iterator[Choice]:
    """The tokens of `generate` with the same settings and generator, each with its reasons.

    Shapes: ids (T,)
    Raises: as `generate`
    """
    (prompt,) = prompts_of("explain", model, ids)
    ends, generator = end_ids("explain", eos_id), default_generator() if generator is None else generator
    state = DecodingState(model, [prompt])
    for _ in range(max_new_tokens):
        logits, texts = state.logits()[:, -1], state.texts()
        token = int(sampling.choose(logits, texts, generator)[0])
        yield _choice(token, logits, texts, sampling, candidates)
        if token in ends:
            return
        state.append(np.array([token]))


def _choice(token: int, logits: Array, texts: list[Array], sampling: Sampling, count: int) -> Choice:
    own, chances = softmax(logits[:, : sampling.vocab_size])[0], sampling.probabilities(logits, texts)[0]
    order = np.argsort(-own, kind="stable")
    shown = order[:count].tolist()
    left: dict[str, int] = {}
    warmed = own
    if sampling.greedy:
        left["greedy"] = 1
    for name, changed in sampling.stages(logits, texts):
        if name == "temperature":
            warmed = softmax(changed)[0]
        elif name not in ("vocab_size", "repetition_penalty"):
            left[name] = int(np.isfinite(changed[0]).sum())
    return Choice(
        token,
        float(own[token]),
        float(chances[token]),
        int(np.flatnonzero(order == token)[0]) + 1,
        [(one, float(own[one]), float(chances[one])) for one in shown],
        left,
        (_spread(own), _spread(warmed)),
    )


def _spread(probabilities: Array) -> float:
    """e^entropy: the number of equally likely tokens that would be as uncertain."""
    p = probabilities[probabilities > 0].astype(np.float64)
    return float(np.exp(-(p * np.log(p)).sum()))
