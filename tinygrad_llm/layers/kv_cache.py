"""The KV cache: keys and values of the tokens read so far, so that generation computes them once per token.

`WindowCache` is the form for attention with a window, and `MemoryCache` the one for cross-attention.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any, Self

import numpy as np

from tinygrad_llm import layers
from tinygrad_llm.arrays import Array
from tinygrad_llm.errors import ConfigError, ShapeError

FIRST_ROOM = 256  # tokens: a text seldom fills its context, and the room for a long one may be most of the memory


class LayerCache:
    """The keys and values of one attention layer so far, in arrays that double when they are full.

    Shapes: two arrays (B, G, room, D) of G key-value heads, room at most the capacity; the first `length` are filled
    """

    held: tuple[Array, Array] | None = None  # the layer always computes new ones; see `AttentionCache`
    length: int

    def __init__(self, capacity: int) -> None:
        self.capacity, self.length = capacity, 0
        self._allocated, self._filled = capacity, 0  # both in tokens; a WindowCache needs less than its capacity
        self._keys: Array | None = None
        self._values: Array | None = None

    def extend(self, keys: Array, values: Array) -> tuple[Array, Array]:
        """Append the keys and values of new tokens; return those of all tokens so far, as views.

        Shapes: keys, values (B, G, T, D) -> two views (B, G, length, D)
        Raises: ShapeError beyond the capacity, or for another number of sequences or heads than before
        """
        if self.length + keys.shape[-2] > self.capacity:
            raise ShapeError(
                f"cache: must have room for {keys.shape[-2]} more tokens; {self.length} of its {self.capacity} are "
                "filled: make a cache of a larger capacity"
            )
        if self._keys is None or self._values is None:
            self._keys, self._values = keys[..., :0, :], values[..., :0, :]
        if self._keys.shape[:-2] != keys.shape[:-2]:
            raise ShapeError(f"cache: (B, G) must stay {self._keys.shape[:-2]}; got {keys.shape[:-2]}")
        self._keys, self._values = (self._with_room(held, keys.shape[-2]) for held in (self._keys, self._values))
        self.length += keys.shape[-2]
        return self._append(self._keys, self._values, keys, values)

    def _with_room(self, held: Array, new: int) -> Array:
        """The array itself if it has room for so many more tokens, or else a larger one with its tokens."""
        room, needed = held.shape[-2], min(self._filled + new, self._allocated)
        if needed <= room:
            return held
        room = min(self._allocated, max(needed, 2 * room, FIRST_ROOM))
        larger = np.empty((*held.shape[:-2], room, held.shape[-1]), held.dtype)
        larger[..., : self._filled, :] = held[..., : self._filled, :]
        return larger

    def _append(self, cached_keys: Array, cached_values: Array, keys: Array, values: Array) -> tuple[Array, Array]:
        stop = self._filled + keys.shape[-2]
        cached_keys[..., self._filled : stop, :] = keys
        cached_values[..., self._filled : stop, :] = values
        self._filled = stop
        return cached_keys[..., :stop, :], cached_values[..., :stop, :]

    @property
    def nbytes(self) -> int:
        """The memory of its arrays, including the part that is not filled yet. Units: bytes."""
        return 0 if self._keys is None or self._values is None else self._keys.nbytes + self._values.nbytes

    def truncate(self, length: int) -> None:
        """Forget all but the first `length` tokens. Raises: ConfigError for more than the cache holds"""
        if not 0 <= length <= self.length:
            raise ConfigError(f"cache: can be cut to a length in 0..{self.length}, what it holds; got {length}")
        self._filled -= self.length - length
        self.length = length

    def select(self, rows: Array) -> None:
        """Make sequence rows[i] the new sequence i, as beam search does; rows may repeat, and may leave some out.

        Shapes: rows (N,) integers in [0, B); B becomes N
        """
        if self._keys is None or self._values is None:
            return
        self._keys, self._values = (self._rows_of(cached, rows) for cached in (self._keys, self._values))

    def _rows_of(self, cached: Array, rows: Array) -> Array:
        chosen = np.empty((len(rows), *cached.shape[1:]), cached.dtype)
        chosen[..., : self._filled, :] = cached[rows, ..., : self._filled, :]  # pages not used yet are not touched
        return chosen


class KVCache:
    """The cache of a model: a `LayerCache` per layer, or a `WindowCache` for each layer that has a window in `windows`.

    `length` is the number of tokens read.
    """

    def __init__(self, num_layers: int, capacity: int, windows: Sequence[int | None] | None = None) -> None:
        windows = [None] * num_layers if windows is None else windows
        self.layers: list[LayerCache] = [
            LayerCache(capacity) if window is None else layers.WindowCache(capacity, window) for window in windows
        ]

    @classmethod
    def of_layers(cls, attentions: Sequence[Any], capacity: int) -> KVCache:
        """A cache for these layers: each says which it needs by its `window` or its `new_cache()`, if it has one."""
        cache = cls(len(attentions), capacity, [getattr(attention, "window", None) for attention in attentions])
        for place, attention in enumerate(attentions):
            if hasattr(attention, "new_cache"):
                cache.layers[place] = attention.new_cache()
        return cache

    @property
    def length(self) -> int:
        return self.layers[0].length

    @property
    def nbytes(self) -> int:
        """The memory of all layers' arrays, including the part that is not filled yet. Units: bytes."""
        return sum(layer.nbytes for layer in self.layers)

    def truncate(self, length: int) -> None:
        """Forget all but the first `length` tokens, such as rejected guesses of speculative decoding.

        If a window has dropped keys that the next token would have to see, everything is forgotten: `length` is then 0.

        Raises: ConfigError for more than the cache holds
        """
        for layer in self.layers:
            layer.truncate(length)
        if any(layer.length < length for layer in self.layers):
            for layer in self.layers:
                layer.truncate(0)

    def select(self, rows: Array) -> None:
        """Make sequence rows[i] the new sequence i in every layer; see `LayerCache.select`. Shapes: rows (N,)"""
        for layer in self.layers:
            layer.select(rows)

    def __copy__(self) -> Self:
        """A cache that shares the arrays, of which each can select rows without the other."""
        other = object.__new__(type(self))
        other.__dict__.update(self.__dict__, layers=[copy.copy(layer) for layer in self.layers])
        return other

    def branch(self, rows: Array) -> Self:
        """A cache whose sequence i continues sequence rows[i] of this one, which stays as it is. Shapes: rows (N,)"""
        branched = copy.copy(self)
        branched.select(rows)  # new arrays
        return branched

    @staticmethod
    def of_rows(caches: Sequence[KVCache]) -> Any:
        """The cache of a batch whose row i has the cache caches[i]; see `RowCaches`."""
        return layers.RowCaches(caches)
