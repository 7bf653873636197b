"""Text from a model, token by token: what is likely to come next is chosen, read in its turn, and so on."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from tinygrad_llm.arrays import Array
from tinygrad_llm.checks import expect_count
from tinygrad_llm.generate.ending import EndOfText, end_ids
from tinygrad_llm.generate.reading import Reading, is_list_of_prompts, prompts_of
from tinygrad_llm.generate.sampling import Sampling
from tinygrad_llm.generate.speculative import Pace, PromptLookup, passes
from tinygrad_llm.random import Generator, default_generator


def generate(
    model: Any,
    ids: Any,
    max_new_tokens: int,
    temperature: float = 0.0,
    top_k: int | None = None,
    top_p: float | None = None,
    min_p: float | None = None,
    repetition_penalty: float | None = None,
    eos_id: EndOfText = None,
    generator: Generator | None = None,
    use_cache: bool = True,
    look_ahead: bool = True,
) -> Any:
    """The prompt and what `model` continues it with: always the likeliest token, or drawn where `temperature` is set.

    A text ends at `eos_id` (one id or several), which is no part of it, or after `max_new_tokens`. Where rows of a
    batch end early, they are filled up with the id that ended them. `generator` draws; the default one unless given.
    Past the model's context only the last `context_length` tokens are read. The model may be in training mode: while it
    is read, dropout is off. Settings as in `Sampling`.

    One greedy text that repeats itself is read several tokens at a time (`look_ahead`; see `speculative`). The tokens
    are those that come one by one, but for float32's rounding, by which a row among several differs from a row alone:
    they may part where the two best logits are nearly equal.

    Shapes: ids (T,) -> (T + N,); (B, T) -> (B, T + N); a list of prompts (T,), of any lengths -> a list; int64
    Units:  max_new_tokens in tokens, at least 0
    Raises: ConfigError for a setting out of its range, or a prompt without a token; DTypeError, IdRangeError and
            ShapeError for ids that are none; AnomalyError where the model's logits are NaN or infinite
    """
    sampling = Sampling(temperature, top_k, top_p, min_p, repetition_penalty)
    prompts = prompts_of("generate", model, ids)
    ends = end_ids("generate", eos_id)
    expect_count("generate", "max_new_tokens", max_new_tokens, at_least=0)
    new: list[list[int]] = [[] for _ in prompts]
    last = np.full(len(prompts), -1)
    for rows, tokens in each_step(model, prompts, max_new_tokens, sampling, ends, generator, use_cache, look_ahead):
        last[rows] = tokens
        for row, token in zip(rows.tolist(), tokens.tolist(), strict=True):
            if token not in ends:
                new[row].append(token)
    texts = [np.append(prompt, np.array(tokens, np.int64)) for prompt, tokens in zip(prompts, new, strict=True)]
    if is_list_of_prompts(ids):
        return texts
    if np.ndim(ids) == 1:
        return texts[0]
    longest = max(len(text) for text in texts)
    filled = np.repeat(last[:, None], longest, axis=1)
    for row, text in zip(filled, texts, strict=True):
        row[: len(text)] = text
    return filled


def each_step(
    model: Any,
    prompts: list[Array],
    max_new_tokens: int,
    sampling: Sampling,
    ends: frozenset[int],
    generator: Generator | None,
    use_cache: bool,
    look_ahead: bool,
) -> Iterator[tuple[Array, Array]]:
    """The next token of every text that has not ended, step by step. Shapes: -> which texts (N,), their tokens (N,)"""
    if not max_new_tokens:
        return
    generator = default_generator() if generator is None else generator
    reading = Reading(model, prompts, use_cache)
    rows = np.arange(len(prompts))
    if look_ahead and use_cache and sampling.greedy and len(prompts) == 1:
        for tokens, _ in passes(reading, max_new_tokens, PromptLookup(Pace.MOST), sampling, generator, Pace()):
            for token in tokens:
                yield rows, token[None]
                if int(token) in ends:
                    return
        return
    for made in range(1, max_new_tokens + 1):
        tokens = sampling.choose(reading.logits()[:, -1], reading.texts(), generator)
        yield rows, tokens
        goes_on = np.array([token not in ends for token in tokens.tolist()])
        if made == max_new_tokens or not goes_on.any():
            return
        if not goes_on.all():
            rows, tokens = rows[goes_on], tokens[goes_on]
            reading.select(np.flatnonzero(goes_on))
        reading.append(tokens)
