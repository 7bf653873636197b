"""Filling masked tokens, with a model that sees the text before and after them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple, Protocol

import numpy as np

from tinygrad_llm.checks import expect_count
from tinygrad_llm.data.masking import MASK
from tinygrad_llm.data.padding import expect_length
from tinygrad_llm.errors import ConfigError, DataError
from tinygrad_llm.formats.strict_json import shown
from tinygrad_llm.generate.decoding_state import without_dropout
from tinygrad_llm.graph import no_grad
from tinygrad_llm.ops import softmax
from tinygrad_llm.tensor import Tensor
from tinygrad_llm.text import Tokenizer
from tinygrad_llm.text.streaming import text_after


class MaskedModel(Protocol):
    """A model that predicts masked tokens, such as `Bert`."""

    @property
    def config(self) -> Any:
        """Has a `context_length`, in tokens."""

    def __call__(self, ids: Any, /) -> Tensor:
        """Logits of the token at each position. Shapes: ids (T,) -> (T, V)"""

    def modules(self) -> Iterator[Any]:
        """The model and all its layers."""


class Guess(NamedTuple):
    """A token for a masked position, as text with the space before it if it has one, and its probability."""

    text: str
    probability: float


def fill_masks(model: MaskedModel, tokenizer: Tokenizer, text: str, top_k: int = 5) -> tuple[str, list[list[Guess]]]:
    """`text` with the most likely token for each `[MASK]`, and the `top_k` best guesses per mask, most likely first.

    Each mask is predicted while the others stay masked. A space before a mask is masked with it, since tokens of BPE
    begin with their space. The model reads the text between `[CLS]` and `[SEP]` if the vocabulary has them (see
    `Tokenizer.framed`).

    Raises: ConfigError for a tokenizer without `[MASK]` or a top_k below 1; DataError for a text without a mask, or
            with more tokens than the context
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
    masked = np.flatnonzero(read == mask_id)
    if not len(masked):
        raise DataError(f"a text must have at least one {MASK}; {shown(text)} has none")
    expect_length(text, len(read), model.config.context_length)
    with without_dropout(model.modules()), no_grad():
        probabilities = softmax(model(read)[masked]).data
    probabilities[:, list(tokenizer.special_tokens.values())] = 0  # a special token is never the answer
    best = np.argsort(-probabilities, axis=-1, kind="stable")[:, :top_k]
    ids[ids == mask_id] = best[:, 0]
    guesses = [
        [Guess(text_after(tokenizer, token, token), float(row[token])) for token in tokens]
        for row, tokens in zip(probabilities, best.tolist(), strict=True)
    ]
    return tokenizer.decode(ids), guesses
