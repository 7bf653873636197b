"""What attention needs of the rotary positions and of the cache that it may be given."""

from __future__ import annotations

from typing import Any, Protocol

from tinygrad_llm.arrays import Array
from tinygrad_llm.tensor import Tensor


class Rotary(Protocol):
    """Relative positions as attention uses them: `rotary(positions, queries, keys)` returns both rotated.

    `nn.RotaryPositions` is one. Shapes: positions (T,) or (B, T), queries and keys (B, H, T, D) -> their shapes
    """

    @property
    def head_dim(self) -> int: ...

    def __call__(self, positions: Any, *tensors: Tensor) -> tuple[Tensor, ...]: ...


class AttentionCache(Protocol):
    """What an attention layer needs of its cache, such as `nn.LayerCache`.

    `held` is None where the layer must compute the keys and values of its input and call `extend`; otherwise the layer
    attends to the keys and values in it, (B, G, S, D) each, and computes none. `length` is the number of tokens read.
    """

    @property
    def held(self) -> tuple[Array, Array] | None: ...

    @property
    def length(self) -> int: ...

    def extend(self, keys: Array, values: Array) -> tuple[Array, Array]: ...
