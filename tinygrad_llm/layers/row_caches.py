"""The caches of texts that are decoded together: each text has its own, so texts join and leave without a copy."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NoReturn

from tinygrad_llm.errors import ShapeError
from tinygrad_llm.layers.kv_cache import KVCache, LayerCache


class LayerRows:
    """One layer's cache of each row of a batch, of any kind and length. Attention reads them row by row."""

    held = None

    def __init__(self, rows: Sequence[LayerCache]) -> None:
        self.rows = rows

    def extend(self, keys: Any, values: Any) -> NoReturn:
        raise ShapeError("cache: rows with a cache each are read by a model in evaluation mode, at most 64 at once")


class RowCaches:
    """The cache of a batch whose row i has the cache caches[i]; their lengths may differ. For one new token of each.

    Give the positions of the new tokens, (B, 1), to the model: those of row i begin at caches[i].length.
    """

    def __init__(self, caches: Sequence[KVCache]) -> None:
        self.layers = [LayerRows(rows) for rows in zip(*(cache.layers for cache in caches), strict=True)]
        self.length = max(cache.length for cache in caches)
