"""The KV cache: keys and values of tokens already read, so that the next token need not read them again."""

from __future__ import annotations

import numpy as np

from tinygrad_llm.errors import ConfigError, ShapeError
from tinygrad_llm.tensor import Array


class LayerCache:
    """One attention layer's keys and values so far, in arrays allocated once.

    Shapes: (B, G, capacity, D), of which the first `length` tokens are filled
    """

    def __init__(self, capacity: int) -> None:
        self.capacity, self.length = capacity, 0
        self._keys: Array | None = None
        self._values: Array | None = None

    def extend(self, keys: Array, values: Array) -> tuple[Array, Array]:
        """Append the new tokens (B, G, T, D), and return all keys and values so far (B, G, length, D), as views."""
        stop = self.length + keys.shape[-2]
        if stop > self.capacity:
            raise ShapeError(f"cache: room for {self.capacity} tokens; {self.length} are there, {keys.shape[-2]} came")
        if self._keys is None or self._values is None:
            self._keys = np.empty((*keys.shape[:-2], self.capacity, keys.shape[-1]), keys.dtype)
            self._values = np.empty((*values.shape[:-2], self.capacity, values.shape[-1]), values.dtype)
        if self._keys.shape[:-2] != keys.shape[:-2]:
            raise ShapeError(f"cache: holds (B, G) {self._keys.shape[:-2]}; got {keys.shape[:-2]}")
        self._keys[..., self.length : stop, :] = keys
        self._values[..., self.length : stop, :] = values
        self.length = stop
        return self._keys[..., :stop, :], self._values[..., :stop, :]

    @property
    def nbytes(self) -> int:
        """How much memory its arrays take, the part that is not filled yet included. Units: bytes."""
        return 0 if self._keys is None or self._values is None else self._keys.nbytes + self._values.nbytes

    def truncate(self, length: int) -> None:
        """Forget all but the first `length` tokens."""
        if not 0 <= length <= self.length:
            raise ConfigError(f"cache: can be cut to a length in 0..{self.length}, what it holds; got {length}")
        self.length = length

    def select(self, rows: Array) -> None:
        """Let sequence i go on from what sequence rows[i] has read; rows (N,) may repeat, and leave some out."""
        if self._keys is None or self._values is None:
            return
        self._keys, self._values = (self._rows_of(filled, rows) for filled in (self._keys, self._values))

    def _rows_of(self, filled: Array, rows: Array) -> Array:
        chosen = np.empty((len(rows), *filled.shape[1:]), filled.dtype)
        chosen[..., : self.length, :] = filled[rows, ..., : self.length, :]  # memory not used yet stays untouched
        return chosen


class MemoryCache:
    """One cross-attention layer's keys and values of an encoder's output, which are the same for every new token.

    Shapes: (B, G, S, D), once `extend` was given them
    """

    def __init__(self) -> None:
        self.held: tuple[Array, Array] | None = None

    def extend(self, keys: Array, values: Array) -> tuple[Array, Array]:
        """Keep them, and return them."""
        self.held = (keys, values)
        return self.held

    def select(self, rows: Array) -> None:
        """As `LayerCache.select`; a memory that all sequences share, a batch of one, stays as it is."""
        if self.held is not None and len(self.held[0]) > 1:
            self.held = (self.held[0][rows], self.held[1][rows])


class KVCache:
    """A `LayerCache` per layer; `length` is how many tokens the model has read."""

    def __init__(self, num_layers: int, capacity: int) -> None:
        self.layers = [LayerCache(capacity) for _ in range(num_layers)]

    @property
    def length(self) -> int:
        return self.layers[0].length

    @property
    def nbytes(self) -> int:
        """As `LayerCache.nbytes`, of all layers."""
        return sum(layer.nbytes for layer in self.layers)

    def truncate(self, length: int) -> None:
        """Forget all but the first `length` tokens, such as guesses that came to nothing."""
        for layer in self.layers:
            layer.truncate(length)

    def select(self, rows: Array) -> None:
        """Let sequence i go on from what sequence rows[i] has read; rows (N,) may repeat, and leave some out."""
        for layer in self.layers:
            layer.select(rows)


class DecoderCache(KVCache):
    """The cache of a decoder, whose layers also read a memory: a `MemoryCache` for each beside its `LayerCache`."""

    def __init__(self, num_layers: int, capacity: int) -> None:
        super().__init__(num_layers, capacity)
        self.memories = [MemoryCache() for _ in range(num_layers)]

    def select(self, rows: Array) -> None:
        super().select(rows)
        for memory in self.memories:
            memory.select(rows)
