"""The KV cache: keys and values of tokens already read, so that the next token need not read them again."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tinygrad_llm.errors import ConfigError, ShapeError
from tinygrad_llm.tensor import Array

# Tokens that may be taken back without reading anew what a window has dropped: a pass of speculative decoding reads up
# to 15 guesses (`generate.speculative.Pace`).
TAKEN_BACK = 16


class LayerCache:
    """One attention layer's keys and values so far, in arrays allocated once.

    Shapes: (B, G, capacity, D), of which the first `length` tokens are filled
    """

    def __init__(self, capacity: int) -> None:
        self.capacity, self.length = capacity, 0
        self._room, self._held = capacity, 0  # tokens that the arrays have room for, and that they hold
        self._keys: Array | None = None
        self._values: Array | None = None

    def extend(self, keys: Array, values: Array) -> tuple[Array, Array]:
        """Append the new tokens (B, G, T, D), and return all keys and values so far (B, G, length, D), as views."""
        if self.length + keys.shape[-2] > self.capacity:
            raise ShapeError(f"cache: room for {self.capacity} tokens; {self.length} are there, {keys.shape[-2]} came")
        if self._keys is None or self._values is None:
            self._keys = np.empty((*keys.shape[:-2], self._room, keys.shape[-1]), keys.dtype)
            self._values = np.empty((*values.shape[:-2], self._room, values.shape[-1]), values.dtype)
        if self._keys.shape[:-2] != keys.shape[:-2]:
            raise ShapeError(f"cache: holds (B, G) {self._keys.shape[:-2]}; got {keys.shape[:-2]}")
        self.length += keys.shape[-2]
        return self._append(self._keys, self._values, keys, values)

    def _append(self, held_keys: Array, held_values: Array, keys: Array, values: Array) -> tuple[Array, Array]:
        stop = self._held + keys.shape[-2]
        held_keys[..., self._held : stop, :] = keys
        held_values[..., self._held : stop, :] = values
        self._held = stop
        return held_keys[..., :stop, :], held_values[..., :stop, :]

    @property
    def nbytes(self) -> int:
        """How much memory its arrays take, the part that is not filled yet included. Units: bytes."""
        return 0 if self._keys is None or self._values is None else self._keys.nbytes + self._values.nbytes

    def truncate(self, length: int) -> None:
        """Forget all but the first `length` tokens."""
        if not 0 <= length <= self.length:
            raise ConfigError(f"cache: can be cut to a length in 0..{self.length}, what it holds; got {length}")
        self._held -= self.length - length
        self.length = length

    def select(self, rows: Array) -> None:
        """Let sequence i go on from what sequence rows[i] has read; rows (N,) may repeat, and leave some out."""
        if self._keys is None or self._values is None:
            return
        self._keys, self._values = (self._rows_of(filled, rows) for filled in (self._keys, self._values))

    def _rows_of(self, filled: Array, rows: Array) -> Array:
        chosen = np.empty((len(rows), *filled.shape[1:]), filled.dtype)
        chosen[..., : self._held, :] = filled[rows, ..., : self._held, :]  # memory not used yet stays untouched
        return chosen


class WindowCache(LayerCache):
    """A `LayerCache` for attention with a window, which holds the last tokens only: no later one sees further back.

    When its arrays are full the last tokens move to their beginning; they have room for a quarter of a window beyond
    what must stay, so that this costs little. What `extend` returns are the keys and values of the tokens before the
    new ones that it still holds, a window's worth or more, and of the new ones.

    Shapes: (B, G, room, D), room = `tokens_held(capacity, window)`
    """

    def __init__(self, capacity: int, window: int) -> None:
        super().__init__(capacity)
        self.window, self._room = window, tokens_held(capacity, window)

    def _append(self, held_keys: Array, held_values: Array, keys: Array, values: Array) -> tuple[Array, Array]:
        new = keys.shape[-2]
        if self._held + new > self._room:
            self._keep(held_keys, held_values, self.window - 1 + TAKEN_BACK)
        if self._held + new <= self._room:
            return super()._append(held_keys, held_values, keys, values)
        # More than fit at once, such as a long prompt: they see each other now, and only the last of them stay.
        keys = np.concatenate([held_keys[..., : self._held, :], keys], axis=-2)
        values = np.concatenate([held_values[..., : self._held, :], values], axis=-2)
        self._held = 0
        super()._append(held_keys, held_values, keys[..., -self._room :, :], values[..., -self._room :, :])
        return keys, values

    def _keep(self, held_keys: Array, held_values: Array, last: int) -> None:
        """Drop all but the `last` tokens held."""
        kept = min(last, self._held)
        for filled in (held_keys, held_values):
            filled[..., :kept, :] = filled[..., self._held - kept : self._held, :]
        self._held = kept

    def truncate(self, length: int) -> None:
        """Forget all but the first `length` tokens, or all where those that the next one needs to see are dropped.

        `length` then says 0, and all must be read again.
        """
        lost = max(length - self.window + 1, 0) < self.length - self._held
        super().truncate(length)
        if lost:
            self.length = self._held = 0


def tokens_held(tokens: int, window: int | None = None) -> int:
    """The tokens that a layer's cache has room for when `tokens` are to be read, with and without a window."""
    return tokens if window is None else min(tokens, window - 1 + TAKEN_BACK + max(window // 4, 8))


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
    """A `LayerCache` per layer, or a `WindowCache` where `windows` has one; `length` is how many tokens were read."""

    def __init__(self, num_layers: int, capacity: int, windows: Sequence[int | None] | None = None) -> None:
        windows = [None] * num_layers if windows is None else windows
        self.layers = [LayerCache(capacity) if w is None else WindowCache(capacity, w) for w in windows]

    @property
    def length(self) -> int:
        return self.layers[0].length

    @property
    def nbytes(self) -> int:
        """As `LayerCache.nbytes`, of all layers."""
        return sum(layer.nbytes for layer in self.layers)

    def truncate(self, length: int) -> None:
        """Forget all but the first `length` tokens, such as guesses that came to nothing.

        Where a window has dropped what the next token would have to see, all are forgotten: `length` then says 0.
        """
        for layer in self.layers:
            layer.truncate(length)
        if any(layer.length < length for layer in self.layers):
            for layer in self.layers:
                layer.truncate(0)

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
