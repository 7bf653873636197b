"""The cache of sliding-window attention, which keeps the last tokens only: no later token attends further back."""

from __future__ import annotations

import numpy as np

from tinygrad_llm.arrays import Array
from tinygrad_llm.layers.kv_cache import LayerCache

# How many of the last tokens `truncate` can always drop without forgetting everything. A pass of speculative decoding
# reads up to 15 drafted tokens (`generate.speculative.DraftLength`).
MAX_ROLLBACK = 16


class WindowCache(LayerCache):
    """A `LayerCache` that keeps the last tokens only, for sliding-window attention (Beltagy et al. 2020,
    arXiv:2004.05150).

    When its arrays are full, the last tokens are copied to their beginning. They have room for a quarter of a window
    more than must stay, so that copies are rare. `extend` returns the keys and values of the tokens that are still
    held, at least a window of them, and of the new ones.

    Shapes: two arrays (B, G, tokens_held(capacity, window), D)
    """

    def __init__(self, capacity: int, window: int) -> None:
        super().__init__(capacity)
        self.window, self._allocated = window, tokens_held(capacity, window)

    def _append(self, cached_keys: Array, cached_values: Array, keys: Array, values: Array) -> tuple[Array, Array]:
        new = keys.shape[-2]
        if self._filled + new > self._allocated:
            self._keep_last(self.window - 1 + MAX_ROLLBACK, cached_keys, cached_values)
        if self._filled + new <= self._allocated:
            return super()._append(cached_keys, cached_values, keys, values)
        # More tokens than fit, such as a long prompt: they attend to each other now, and only the last ones are kept.
        keys = np.concatenate([cached_keys[..., : self._filled, :], keys], axis=-2)
        values = np.concatenate([cached_values[..., : self._filled, :], values], axis=-2)
        self._filled, kept = 0, slice(-self._allocated, None)
        super()._append(cached_keys, cached_values, keys[..., kept, :], values[..., kept, :])
        return keys, values

    def _keep_last(self, tokens: int, cached_keys: Array, cached_values: Array) -> None:
        """Drop all but the last `tokens` that are held."""
        kept = min(tokens, self._filled)
        for cached in (cached_keys, cached_values):
            cached[..., :kept, :] = cached[..., self._filled - kept : self._filled, :]
        self._filled = kept

    def truncate(self, length: int) -> None:
        """Forget all but the first `length` tokens; or all, if keys that the next token must see were dropped.

        `length` is then 0, and the whole text must be read again.

        Raises: ConfigError for more than the cache has read
        """
        lost = max(length - self.window + 1, 0) < self.length - self._filled
        super().truncate(length)
        if lost:
            self.length = self._filled = 0


def tokens_held(tokens: int, window: int | None = None) -> int:
    """The room in a layer's cache for a text of `tokens` tokens; with a window, less. Units: tokens"""
    return tokens if window is None else min(tokens, window - 1 + MAX_ROLLBACK + max(window // 4, 8))
