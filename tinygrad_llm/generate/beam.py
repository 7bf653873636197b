"""Beam search: the most likely whole text, instead of the most likely token at each step."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from tinygrad_llm.arrays import Array
from tinygrad_llm.checks import expect_count
from tinygrad_llm.errors import AnomalyError, ConfigError
from tinygrad_llm.generate.decodable import Decodable
from tinygrad_llm.generate.decoding_state import DecodingState, prompts_of
from tinygrad_llm.generate.ending import EndOfText, end_ids
from tinygrad_llm.generate.sampling import log_probabilities


class Beam(NamedTuple):
    """A text that the search found: the prompt's ids and the new ones, and its score."""

    ids: Array
    score: float  # log_probability / (new tokens)^length_penalty
    log_probability: float  # of the new tokens, including the one that ends the text; nats


def beam_search(
    model: Decodable,
    ids: Any,
    max_new_tokens: int,
    num_beams: int,
    length_penalty: float = 1.0,
    eos_id: EndOfText = None,
    use_cache: bool = True,
) -> list[Beam]:
    """Beam search with `num_beams` beams: the best texts it finds, best first.

        score = log p(new tokens) / n^length_penalty,  n the number of new tokens

    At every step the `num_beams` most likely texts are kept. Each token makes a text less probable; dividing by the
    length makes long texts comparable with short ones (Wu et al. 2016, arXiv:1609.08144, with (5 + n) / 6 for n): a
    penalty of 0 compares probabilities, 1 the mean per token. A text ends at `eos_id` or after `max_new_tokens`;
    `eos_id` counts in n and p, but is not in `ids`. The search ends when no unfinished text can become better.

    Shapes: ids (T,); each beam's ids (T + N,)
    Raises: ConfigError for a setting outside its range, more than one prompt, or an empty prompt; else as `generate`
    """
    prompts = prompts_of("beam_search", model, ids)
    ends = end_ids("beam_search", eos_id)
    expect_count("beam_search", "max_new_tokens", max_new_tokens, at_least=0)
    expect_count("beam_search", "num_beams", num_beams, at_least=1)
    if not isinstance(length_penalty, int | float | np.number) or not 0 <= length_penalty < np.inf:
        raise ConfigError(f"beam_search: length_penalty must be a finite number of at least 0; got {length_penalty!r}")
    if len(prompts) != 1:
        raise ConfigError(f"beam_search: one prompt at a time; got {len(prompts)}: call it for each")
    prompt = prompts[0]
    if not max_new_tokens:
        return [Beam(prompt, 0.0, 0.0)]
    is_end = np.isin(np.arange(model.config.vocab_size), list(ends))

    state = DecodingState(model, [prompt], use_cache)
    unfinished = np.zeros(1)  # log probability of each text that has not ended
    ended: list[Beam] = []
    for length in range(1, max_new_tokens + 1):
        totals = unfinished[:, None] + _checked_log_probabilities(state.logits()[:, -1])
        for row, token in np.argwhere(is_end & np.isfinite(totals)):
            total = float(totals[row, token])
            ended.append(Beam(state.ids[row], total / length**length_penalty, total))
        ended = sorted(ended, key=lambda beam: -beam.score)[:num_beams]
        totals[:, is_end] = -np.inf
        rows, tokens = np.divmod(_largest(totals.ravel(), num_beams), totals.shape[1])
        unfinished = totals[rows, tokens]
        if not len(rows):
            break
        state.select(rows)
        state.append(tokens)
        best_possible = unfinished[0] / max_new_tokens**length_penalty
        if len(ended) == num_beams and ended[-1].score >= best_possible:
            break
    else:
        scores = unfinished / max_new_tokens**length_penalty
        ended += [Beam(*found) for found in zip(state.ids, scores.tolist(), unfinished.tolist(), strict=True)]
    return sorted(ended, key=lambda beam: -beam.score)[:num_beams]


def _checked_log_probabilities(logits: Array) -> Array:
    """Raises: AnomalyError for NaN or infinity. Shapes: logits (B, V) -> (B, V)"""
    result = log_probabilities(logits)
    if np.isnan(result).any():
        raise AnomalyError("beam_search: logits must be numbers below infinity; got NaN or infinity: look at the model")
    return result


def _largest(totals: Array, count: int) -> Array:
    """The indices of the `count` largest, or of all above -infinity if fewer, largest first; the first of ties first.

    Shapes: totals (N,) -> (count,)
    """
    possible = np.flatnonzero(np.isfinite(totals))
    if len(possible) > count:
        kth = np.partition(totals[possible], -count)[-count]
        possible = possible[totals[possible] >= kth]
    return possible[np.argsort(-totals[possible], kind="stable")][:count]
