"""The texts being decoded, and the model's logits for the next token of each.

Texts of different lengths are one array, padded on the left, so that all end in the last column and grow together:

    ids        0  0  7  2  5        padding 2: the mask hides it, and positions count from the text's first token
               4  1  3  3  9        padding 0

While all columns fit the model's context, a KV cache holds the keys and values of the columns that were read, and only
new columns are read. Beyond the context, positions shift with every token and no cached key is right any more: the last
`context_length` tokens are read again each time.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

from tinygrad_llm.arrays import Array
from tinygrad_llm.checks import expect_ids
from tinygrad_llm.errors import ConfigError, ShapeError
from tinygrad_llm.generate.decodable import Cache, Decodable, RowSelectable
from tinygrad_llm.graph import no_grad


class DecodingState:
    """Texts that grow token by token, the model that reads them, and its KV cache.

    `ids` (B, T) are the texts, padded on the left; `padding` (B,) counts the padding of each.
    """

    def __init__(self, model: Decodable, texts: Sequence[Array], use_cache: bool = True) -> None:
        self.model = model
        longest = max(len(text) for text in texts)
        self.padding = np.array([longest - len(text) for text in texts])
        self.ids = np.zeros((len(texts), longest), np.int64)
        for row, text in zip(self.ids, texts, strict=True):
            row[longest - len(text) :] = text
        self._cache: Cache | None = model.new_cache() if use_cache else None
        self._modules = list(model.modules())

    @property
    def length(self) -> int:
        """Columns: the tokens of the longest prompt and those appended since."""
        return self.ids.shape[1]

    def texts(self) -> list[Array]:
        """Each text without its padding, as a view. Shapes: B arrays (T_i,)"""
        return [row[padding:] for row, padding in zip(self.ids, self.padding, strict=True)]

    def logits(self, count: int = 1) -> Array:
        """Logits of the token after each of the last `count` columns; more than one must fit the context.

        Shapes: -> (B, count, V)
        """
        window = self.model.config.context_length
        if self.length > window:
            self._cache = None  # of no use any more: positions shift from now on
        cache, start = self._cache, max(self.length - window, 0)
        if cache is not None:
            start = min(cache.length, self.length - count)
            cache.truncate(start)
            start = cache.length  # 0 if a sliding window has dropped keys that are needed again
        first = max(self.length - window, 0)  # the first column within the context
        mask = positions = None
        if self.padding.any():
            mask = (np.arange(first, self.length) >= self.padding[:, None])[:, None, None, :]
            begins = np.maximum(self.padding, first)  # the first visible column of each text
            positions = np.maximum(np.arange(start, self.length) - begins[:, None], 0)
        with without_dropout(self._modules), no_grad():
            hidden = self.model.hidden(self.ids[:, start:], cache, mask, positions)
            return self.model.head(hidden[:, -count:]).data

    def append(self, tokens: Array) -> None:
        """Append tokens to each text. Shapes: tokens (B,) or (B, N)"""
        self.ids = np.concatenate([self.ids, tokens.reshape(len(self.ids), -1)], axis=1)

    def truncate(self, length: int) -> None:
        """Drop all columns after the first `length`."""
        self.ids = self.ids[:, :length]
        if self._cache is not None:
            self._cache.truncate(min(self._cache.length, length))

    def select(self, rows: Array) -> None:
        """Continue with text rows[i] as text i; rows may repeat or be left out. Shapes: rows (N,)"""
        self.ids, self.padding = self.ids[rows], self.padding[rows]
        if isinstance(self.model, RowSelectable):
            self.model = self.model.select(rows)
        if self._cache is not None:
            self._cache.select(rows)


@contextmanager
def without_dropout(modules: Iterable[Any]) -> Iterator[None]:
    """Set `training` to False for one pass only: between two tokens of a stream, others may use the model."""
    training = [module for module in modules if module.training]
    for module in training:
        module.training = False
    try:
        yield
    finally:
        for module in training:
            module.training = True


def prompts_of(owner: str, model: Decodable, ids: Any) -> list[Array]:
    """`ids` as a list of prompts.

    Shapes: one prompt (T,), a batch (B, T) or a list of prompts (T,) -> a list of int64 arrays (T,)

    Raises: ConfigError for an empty prompt or no prompt at all; ShapeError for more axes, DTypeError for ids that are
            not integers, IdRangeError for ids outside the vocabulary
    """
    vocab_size = model.config.vocab_size
    if is_list_of_prompts(ids):
        prompts = [expect_ids(owner, prompt, vocab_size) for prompt in ids]
    else:
        array = expect_ids(owner, ids, vocab_size)
        prompts = list(array) if array.ndim == 2 else [array]
    for prompt in prompts:
        if prompt.ndim != 1:
            raise ShapeError(f"{owner}: ids must be (T,), (B, T) or a list of prompts (T,); got {prompt.shape}")
    if not prompts or not all(prompt.size for prompt in prompts):
        raise ConfigError(f"{owner}: a prompt needs at least one token; got none: start from the end-of-text token")
    return [prompt.astype(np.int64) for prompt in prompts]


def is_list_of_prompts(ids: Any) -> bool:
    """Whether `ids` is a list of prompts, which may differ in length, not one list of numbers or an array."""
    if not isinstance(ids, list | tuple):
        return False
    return any(getattr(prompt, "ndim", int(hasattr(prompt, "__len__"))) for prompt in ids)
