"""Hidden words filled in, by a model that sees what stands before and after them."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from tinygrad_llm.checks import expect_count
from tinygrad_llm.data.masking import MASK
from tinygrad_llm.errors import ConfigError, DataError
from tinygrad_llm.generate.reading import evaluating
from tinygrad_llm.graph import no_grad
from tinygrad_llm.models import Bert
from tinygrad_llm.ops import softmax
from tinygrad_llm.text import Tokenizer


class Guess(NamedTuple):
    """A token for a hidden place, as text with the space before it if it has one, and how likely the model holds it
    to be."""

    text: str
    probability: float


def fill_masks(model: Bert, tokenizer: Tokenizer, text: str, top_k: int = 5) -> tuple[str, list[list[Guess]]]:
    """`text` with the likeliest token for each `[MASK]`, and the `top_k` guesses at each, likeliest first.

    Each is guessed as if the others stayed hidden. A space before a mask belongs to what is hidden, for BPE's tokens
    begin with theirs. The model reads the text in its frame, if the vocabulary has one (see `Tokenizer.framed`).

    Raises: ConfigError for a tokenizer without `[MASK]` or a top_k below 1; DataError for a text without a mask, or of
            more tokens than the context has
    """
    expect_count("fill_masks", "top_k", top_k, at_least=1)
    mask_id = tokenizer.special_tokens.get(MASK)
    if mask_id is None:
        raise ConfigError(f"fill_masks: the tokenizer must have the token {MASK}, which `bert train` gives it")
    tokens = map(tokenizer.token_bytes, range(tokenizer.vocab_size))
    if any(token.startswith(b" ") and len(token) > 1 for token in tokens):
        text = text.replace(f" {MASK}", MASK)
    ids = np.array(tokenizer.encode(text, allowed_special={MASK}), np.int64)
    read = np.array(tokenizer.framed(ids.tolist()), np.int64)
    hidden = np.flatnonzero(read == mask_id)
    if not len(hidden) or len(read) > model.config.context_length:
        raise DataError(
            f"fill_masks: a text must have at least one {MASK} and at most {model.config.context_length} tokens; got "
            f"{len(hidden)} and {len(read)}"
        )
    with evaluating(model.modules()), no_grad():
        shares = softmax(model(read)[hidden]).data
    shares[:, list(tokenizer.special_tokens.values())] = 0  # they are no words
    best = np.argsort(-shares, axis=-1, kind="stable")[:, :top_k]
    ids[ids == mask_id] = best[:, 0]
    guesses = [
        [Guess(tokenizer.separator(token) + tokenizer.decode([token]), float(row[token])) for token in tokens]
        for row, tokens in zip(shares, best.tolist(), strict=True)
    ]
    return tokenizer.decode(ids), guesses
