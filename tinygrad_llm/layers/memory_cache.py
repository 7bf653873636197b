"""The caches of a decoder that attends to an encoder's output, its memory."""

from __future__ import annotations

import copy
from typing import Self

from tinygrad_llm.arrays import Array
from tinygrad_llm.layers.kv_cache import KVCache


class MemoryCache:
    """The keys and values of an encoder's output in one cross-attention layer: the same for every new token.

    The first call of the layer computes them and passes them to `extend`; later calls read `held`.

    Shapes: `held` is None or two arrays (B, G, S, D)
    """

    length = 0  # the memory holds no tokens of the decoder's own text

    def __init__(self) -> None:
        self.held: tuple[Array, Array] | None = None

    def extend(self, keys: Array, values: Array) -> tuple[Array, Array]:
        """Keep the memory's keys and values, and return them. Shapes: keys, values (B, G, S, D) -> the same"""
        self.held = (keys, values)
        return self.held

    def select(self, rows: Array) -> None:
        """Make sequence rows[i] the new sequence i; a memory that all sequences share (B = 1) stays as it is.

        Shapes: rows (N,) integers in [0, B)
        """
        if self.held is not None and len(self.held[0]) > 1:
            self.held = (self.held[0][rows], self.held[1][rows])


class DecoderCache(KVCache):
    """The cache of a decoder: for each layer a `LayerCache` for self-attention and a `MemoryCache` for
    cross-attention."""

    def __init__(self, num_layers: int, capacity: int) -> None:
        super().__init__(num_layers, capacity)
        self.memories = [MemoryCache() for _ in range(num_layers)]

    def select(self, rows: Array) -> None:
        """Make sequence rows[i] the new sequence i in both caches of every layer. Shapes: rows (N,)"""
        super().select(rows)
        for memory in self.memories:
            memory.select(rows)

    def __copy__(self) -> Self:
        other = super().__copy__()
        other.memories = [copy.copy(memory) for memory in self.memories]
        return other
