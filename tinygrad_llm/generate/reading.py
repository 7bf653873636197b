"""A batch of texts and the model that reads them: what comes next in each, however long they are.

Texts of unequal length stand in one array, padded on the left, so that all end in the last column and grow together:

    ids        0  0  7  2  5        padding 2: the mask hides it, and positions count from the text's own beginning
               4  1  3  3  9        padding 0

While all columns fit the model's context, keys and values of what was read wait in a cache, and only new columns are
read. Past that, positions shift with every token and no key stays as it was: the last `context_length` tokens are read
anew each time.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

from tinygrad_llm.arrays import Array
from tinygrad_llm.checks import expect_ids
from tinygrad_llm.errors import ConfigError, ShapeError
from tinygrad_llm.graph import no_grad
from tinygrad_llm.models.encoder_decoder import Conditioned
from tinygrad_llm.nn import KVCache
from tinygrad_llm.nn.module import Module


class Reading:
    """Texts that grow token by token, and the model's logits for what comes next.

    `ids` (B, T) holds them padded on the left, `padding` (B,) by how much.
    """

    def __init__(self, model: Any, texts: Sequence[Array], use_cache: bool = True) -> None:
        self.model = model
        longest = max(len(text) for text in texts)
        self.padding = np.array([longest - len(text) for text in texts])
        self.ids = np.zeros((len(texts), longest), np.int64)
        for row, text in zip(self.ids, texts, strict=True):
            row[longest - len(text) :] = text
        self._cache: KVCache | None = model.new_cache() if use_cache else None
        self._modules = list(model.modules())

    @property
    def length(self) -> int:
        """How many tokens the longest text had, and all that came since."""
        return self.ids.shape[1]

    def texts(self) -> list[Array]:
        """Each text without padding, as a view."""
        return [row[padding:] for row, padding in zip(self.ids, self.padding, strict=True)]

    def logits(self, count: int = 1) -> Array:
        """Logits of the token after each of the last `count` columns, which must fit the context if there are several.

        Shapes: -> (B, count, V)
        """
        window = self.model.config.context_length
        if self.length > window:
            self._cache = None  # never of use again
        cache, start = self._cache, max(self.length - window, 0)
        if cache is not None:
            start = min(cache.length, self.length - count)
            cache.truncate(start)
            start = cache.length  # 0 where a window has dropped what would have to be seen
        first = max(self.length - window, 0)  # the first column that can be seen
        mask = positions = None
        if self.padding.any():
            mask = (np.arange(first, self.length) >= self.padding[:, None])[:, None, None, :]
            begins = np.maximum(self.padding, first)  # where each text begins, or what is left of it
            positions = np.maximum(np.arange(start, self.length) - begins[:, None], 0)
        with evaluating(self._modules), no_grad():
            hidden = self.model.hidden(self.ids[:, start:], cache, mask, positions)
            return self.model.head(hidden[:, -count:]).data

    def append(self, tokens: Array) -> None:
        """Let each text grow. Shapes: tokens (B,) or (B, N)"""
        self.ids = np.concatenate([self.ids, tokens.reshape(len(self.ids), -1)], axis=1)

    def truncate(self, length: int) -> None:
        """Forget all columns but the first `length`."""
        self.ids = self.ids[:, :length]
        if self._cache is not None:
            self._cache.truncate(min(self._cache.length, length))

    def select(self, rows: Array) -> None:
        """Go on with text rows[i] as text i; rows may repeat, and leave some out. Shapes: rows (N,)"""
        self.ids, self.padding = self.ids[rows], self.padding[rows]
        if isinstance(self.model, Conditioned):
            self.model = self.model.select(rows)
        if self._cache is not None:
            self._cache.select(rows)


@contextmanager
def evaluating(modules: Iterable[Module]) -> Iterator[None]:
    """Dropout off for one pass, not longer: a stream is left waiting between two tokens, and others use the model."""
    training = [module for module in modules if module.training]
    for module in training:
        module.training = False
    try:
        yield
    finally:
        for module in training:
            module.training = True


def prompts_of(owner: str, model: Any, ids: Any) -> list[Array]:
    """`ids`, one prompt (T,), a batch (B, T) or a list of prompts, as a list of int64 arrays.

    Raises: ConfigError for a prompt without a token, or no prompt at all; ShapeError for more axes, DTypeError for ids
            that are no integers, IdRangeError for ids outside the vocabulary
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
    """Whether prompts come as a list, which may be of unequal length, rather than as numbers or an array."""
    if not isinstance(ids, list | tuple):
        return False
    return any(getattr(prompt, "ndim", int(hasattr(prompt, "__len__"))) for prompt in ids)
