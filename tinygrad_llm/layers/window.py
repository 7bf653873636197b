"""The mask of sliding-window attention."""

from __future__ import annotations

import weakref

import numpy as np

from tinygrad_llm.arrays import Array
from tinygrad_llm.graph import TensorLike
from tinygrad_llm.primitives.operands import as_tensor

_shared: weakref.WeakValueDictionary[tuple[int, int, int], Array] = weakref.WeakValueDictionary()


def within_window(window: int, queries: int, keys: int, mask: TensorLike | None = None) -> TensorLike | None:
    """`mask`, with the keys hidden that lie `window` or more tokens before a query. The last query sees the last key.

    A mask over more keys than there are loses its first ones: a WindowCache has dropped those keys.

    Shapes: mask broadcasting to (..., queries, keys) -> the same; None where nothing is hidden
    """
    if mask is not None and as_tensor(mask).shape[-1] > keys:
        mask = as_tensor(mask).data[..., -keys:]
    if keys <= window:
        return mask
    near = _near(window, queries, keys)
    if mask is None:
        return near
    mask = as_tensor(mask)
    return mask.data & near if mask.dtype.kind == "b" else mask + np.where(near, 0, -np.inf).astype(mask.dtype)


def _near(window: int, queries: int, keys: int) -> Array:
    """The keys within the window of each query: one array for all layers that keep it for backward at the same time."""
    near = _shared.get((window, queries, keys))
    if near is None:
        near = np.arange(keys) > np.arange(queries)[:, None] + (keys - queries - window)
        near.flags.writeable = False
        _shared[window, queries, keys] = near
    return near
