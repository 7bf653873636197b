"""Decoding: choose the next token, append it to the text, and repeat."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Unpack

import numpy as np

from tinygrad_llm.arrays import Array
from tinygrad_llm.checks import expect_count
from tinygrad_llm.generate.decodable import Decodable
from tinygrad_llm.generate.decoding_state import DecodingState, is_list_of_prompts, prompts_of
from tinygrad_llm.generate.ending import EndOfText, end_ids
from tinygrad_llm.generate.sampling import Sampling, SamplingKeywords
from tinygrad_llm.generate.speculative import DraftLength, PromptLookup, passes
from tinygrad_llm.random import Generator, default_generator


def generate(
    model: Decodable,
    ids: Any,
    max_new_tokens: int,
    sampling: Sampling | None = None,
    *,
    eos_id: EndOfText = None,
    generator: Generator | None = None,
    use_cache: bool = True,
    look_ahead: bool = True,
    copies: int = 1,
    **keywords: Unpack[SamplingKeywords],
) -> Any:
    """The prompt and its continuation by `model`: the most likely token at each step, or sampled with a `temperature`.

        generate(model, ids, 100, temperature=0.8, top_k=50)     the same as
        generate(model, ids, 100, Sampling(temperature=0.8, top_k=50))

    A text ends before `eos_id` (one id or several), or after `max_new_tokens`. Rows of a batch that end early are
    filled up with the id that ended them. Random numbers come from `generator`, or from the default generator. Beyond
    the model's context, only the last `context_length` tokens are read. Dropout is off while the model reads, also in
    training mode.

    One greedy text may be decoded several tokens at a time where it repeats itself (`look_ahead`; see speculative.py).
    The tokens are the same up to float32 rounding: a row among several rounds differently from a row alone, which
    matters where the two largest logits are nearly equal.

    With `copies`, each prompt is read once and continued that many times: the texts of the first prompt come first.

    Shapes: ids (T,) -> (T + N,); (B, T) -> (B, T + N); a list of prompts (T_i,) -> a list; int64. With `copies` above
            1, (T,) and (B, T) -> (B · copies, T + N), a list -> one of B · copies texts
    Units:  max_new_tokens in tokens, at least 0
    Raises: ConfigError for a setting outside its range or an empty prompt; DTypeError, IdRangeError and ShapeError for
            unusable ids; AnomalyError if the model's logits are NaN or infinite
    """
    sampling = Sampling.of("generate", sampling, keywords)
    prompts = prompts_of("generate", model, ids)
    ends = end_ids("generate", eos_id)
    expect_count("generate", "max_new_tokens", max_new_tokens, at_least=0)
    expect_count("generate", "copies", copies)
    steps = each_step(model, prompts, max_new_tokens, sampling, ends, generator, use_cache, look_ahead, copies)
    prompts = [prompt for prompt in prompts for _ in range(copies)]
    new: list[list[int]] = [[] for _ in prompts]
    last = np.full(len(prompts), -1)
    for rows, tokens in steps:
        last[rows] = tokens
        for row, token in zip(rows.tolist(), tokens.tolist(), strict=True):
            if token not in ends:
                new[row].append(token)
    texts = [np.append(prompt, np.array(tokens, np.int64)) for prompt, tokens in zip(prompts, new, strict=True)]
    if is_list_of_prompts(ids):
        return texts
    if np.ndim(ids) == 1 and copies == 1:
        return texts[0]
    longest = max(len(text) for text in texts)
    filled = np.repeat(last[:, None], longest, axis=1)
    for row, text in zip(filled, texts, strict=True):
        row[: len(text)] = text
    return filled


def each_step(
    model: Decodable,
    prompts: list[Array],
    max_new_tokens: int,
    sampling: Sampling,
    ends: frozenset[int],
    generator: Generator | None,
    use_cache: bool,
    look_ahead: bool,
    copies: int = 1,
    stopped: Callable[[int, int], bool] | None = None,
) -> Iterator[tuple[Array, Array]]:
    """Per step, which texts have not ended, and the next token of each; text i continues prompt i // copies.

    A text ends with a token of `ends`, and after one for which `stopped(text, token)` is True.

    Shapes: -> rows (N,), tokens (N,)
    """
    if not max_new_tokens:
        return
    generator = default_generator() if generator is None else generator

    def ended(row: int, token: int) -> bool:
        return token in ends or (stopped is not None and stopped(row, token))

    state = DecodingState(model, prompts, use_cache)
    rows = np.arange(len(prompts) * copies)
    if look_ahead and use_cache and sampling.greedy and len(rows) == 1:
        for tokens, _ in passes(
            state, max_new_tokens, PromptLookup(DraftLength.MOST), sampling, generator, DraftLength()
        ):
            for token in tokens:
                yield rows, token[None]
                if ended(0, int(token)):
                    return
        return
    logits = state.logits()[:, -1]
    if copies > 1:
        state.select(rows // copies)
        logits = logits[rows // copies]
    for made in range(1, max_new_tokens + 1):
        tokens = sampling.choose(logits, state.texts(), generator)
        yield rows, tokens
        continues = np.array([not ended(*one) for one in zip(rows.tolist(), tokens.tolist(), strict=True)])
        if made == max_new_tokens or not continues.any():
            return
        if not continues.all():
            rows, tokens = rows[continues], tokens[continues]
            state.select(np.flatnonzero(continues))
        state.append(tokens)
        logits = state.logits()[:, -1]
