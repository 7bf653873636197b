"""The fast form of attention: the scores are computed in tiles that stay in the L2 cache (after Dao et al. 2022,
arXiv:2205.14135).

A tile is a few heads and queries, with the keys that these may see:

    s = scale · q kᵀ + mask,  p = softmax(s),  o = p v
    dv = pᵀ do,  dp = do vᵀ,  ds = p ⊙ (dp - rowsum(dp ⊙ p)),  dq = scale · ds k,  dk = scale · dsᵀ q

With dropout, p in the two products with v and do is the part that was kept, scaled by 1 / (1 - dropout_p). Scores are
exponentiated without a shift by their largest where the lengths of q and k show that nothing can overflow. Backward
computes the p of long sequences again: without dropout, memory grows with their length and not with its square.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple

import numpy as np

from tinygrad_llm import buffers
from tinygrad_llm.arrays import Array

QUERY_ROWS = 64  # queries per tile: fewer skip more of the future, more make larger products
TILE_SCORES = 1 << 16  # scores per tile, about: with its products, a tile stays in the L2 cache
KEPT_KEYS = 128  # the weights of more keys are computed again: for these, that takes up to 4% of a training step
for_each: Callable[..., Iterable[Any]] = map  # in a `products_in_threads` block its threads share the tiles
SAFE_SCORE = 60.0  # exp(±60) and sums of it are far from float32's limits, so such scores need no shift


class TiledAttention(NamedTuple):
    """The inputs of one attention.

    Shapes: q (B, H, T, D), k (B, H, S, D), v (B, H, S, E); mask and keep (B, H, T, S) or None
    """

    q: Array
    k: Array
    v: Array
    scale: float
    softcap: float | None
    is_causal: bool
    mask: Array | None  # booleans (True: visible), or numbers that are added to the scores
    keep: Array | None  # the weights that dropout keeps
    kept_scale: Array  # the factor of the kept weights, 1 / (1 - dropout_p)


class Tile(NamedTuple):
    """A block of the (B, H, T, S) scores that is computed at once: some sequences, heads and queries."""

    at: tuple[slice, slice]  # the sequences, and their heads
    rows: slice  # the queries
    seen: slice  # the keys that any of these may see

    @property
    def shape(self) -> tuple[int, ...]:
        return tuple(piece.stop - piece.start for piece in (*self.at, self.rows, self.seen))


def forward_tiles(x: TiledAttention, keep_weights: bool) -> tuple[Array, list[Array]]:
    """The output o, and the weights p of every tile if they are kept for backward. Shapes: -> o (B, H, T, E)"""
    o = _empty_with_tokens_first((*x.q.shape[:-1], x.v.shape[-1]), x.q.dtype)
    weigh, tiles = _weights_of_tiles(x), list(_tiles(x))

    def compute(tile: Tile) -> Array:
        p = weigh(tile)
        np.matmul(_kept_weights(p, x, tile), x.v[*tile.at, tile.seen], out=o[*tile.at, tile.rows])
        return p

    if keep_weights and x.k.shape[2] <= KEPT_KEYS:
        return o, list(map(compute, tiles))
    for _ in for_each(compute, tiles):
        pass  # `map` computes a tile when it is asked for
    return o, []


def backward_tiles(x: TiledAttention, saved: list[Array], do: Array) -> tuple[Array, Array, Array]:
    """The gradients of q, k and v. Shapes: do (B, H, T, E) -> as q, k and v"""
    q, k, v = x.q, x.k, x.v
    v_t = buffers.copy(v.swapaxes(2, 3))
    v_t *= x.scale  # so that ds is scaled
    dq, dk, dv = (_empty_with_tokens_first(y.shape, q.dtype) for y in (q, k, v))
    tiles = list(_tiles(x))
    if not tiles:
        dk[...] = dv[...] = 0
    for tile, p in zip(tiles, saved or map(_weights_of_tiles(x), tiles), strict=True):
        at, rows, seen = tile
        ds = buffers.empty(tile.shape, q.dtype)
        do_rows, kept = do[*at, rows], _kept_weights(p, x, tile)
        np.matmul(do_rows, v_t[*at, :, seen], out=ds)
        if x.keep is not None:
            ds *= x.keep[*at, rows, seen]
            ds *= x.kept_scale
        ds -= np.vecdot(ds, p)[..., None]
        ds *= p
        if x.softcap is not None:  # times 1 - tanh²
            ds *= 1 - np.tanh(q[*at, rows] @ k[*at, seen].swapaxes(2, 3) * (x.scale / x.softcap)) ** 2
        np.matmul(ds, k[*at, seen], out=dq[*at, rows])
        if rows.stop == q.shape[2]:  # a head's first tile, whose last query sees every key
            np.matmul(kept.swapaxes(2, 3), do_rows, out=dv[*at])
            np.matmul(ds.swapaxes(2, 3), q[*at, rows], out=dk[*at])
        else:
            dv[*at, seen] += kept.swapaxes(2, 3) @ do_rows
            dk[*at, seen] += ds.swapaxes(2, 3) @ q[*at, rows]
    return dq, dk, dv


def _weights_of_tiles(x: TiledAttention) -> Callable[[Tile], Array]:
    """A function that computes the weights p of a tile."""
    q, k = x.q, x.k
    k_t = buffers.copy(k.swapaxes(2, 3))  # transposed in memory once, or BLAS would do it for every product
    k_t *= x.scale  # and scaled, in place of the scores
    ones = np.ones((k.shape[2], 1), q.dtype)
    shift = _scores_may_be_large(q, k, x.scale) or (x.mask is not None and x.mask.dtype.kind != "b")

    def weigh(tile: Tile) -> Array:
        at, rows, seen = tile
        p = np.matmul(q[*at, rows], k_t[*at, :, seen], out=buffers.empty(tile.shape, q.dtype))
        if x.softcap is not None:
            np.multiply(np.tanh(p / x.softcap, out=p), x.softcap, out=p)
        _mask_scores(p, x, tile)
        if shift:
            largest = np.maximum.reduce(p, axis=-1, keepdims=True, initial=-np.inf)
            largest[np.isneginf(largest)] = 0  # a query that sees no key: exp(-inf - 0) = 0, not NaN
            p -= largest
        np.exp(p, out=p)
        total = p @ ones[seen]  # the row sums, as a product: BLAS adds along short rows faster than a reduction
        total[total == 0] = 1
        return np.multiply(p, 1 / total, out=p)

    return weigh


def _mask_scores(scores: Array, x: TiledAttention, tile: Tile) -> None:
    """Apply the mask and hide the future, in place."""
    at, rows, seen = tile
    if x.mask is not None:
        if x.mask.dtype.kind == "b":
            scores[~x.mask[*at, rows, seen]] = -np.inf
        else:
            scores += x.mask[*at, rows, seen]
    if x.is_causal:  # only the last keys seen, one for each query, are hidden from some of the queries
        queries, partly = scores.shape[2], min(scores.shape[-2:])
        future = _future(scores.dtype)[:queries, queries - partly : queries]
        scores[..., scores.shape[-1] - partly :] += future


def _kept_weights(p: Array, x: TiledAttention, tile: Tile) -> Array:
    """The weights after dropout."""
    at, rows, seen = tile
    return p if x.keep is None else p * x.keep[*at, rows, seen] * x.kept_scale


def _tiles(x: TiledAttention) -> Iterator[Tile]:
    """Tiles of about TILE_SCORES scores that cover all visible keys; the last queries of each head come first."""
    (batch, heads, length, _), count = x.q.shape, x.k.shape[2]
    rows_step = QUERY_ROWS if x.is_causal else max(length, 1)
    heads_step = max(1, TILE_SCORES // max(1, min(rows_step, length) * count))
    batch_step = max(1, heads_step // max(1, heads))
    for first in range(0, batch, batch_step):
        for head in range(0, heads, heads_step):
            at = slice(first, min(first + batch_step, batch)), slice(head, min(head + heads_step, heads))
            for stop in range(length, 0, -rows_step):
                seen = min(max(stop + count - length, 0), count) if x.is_causal else count
                yield Tile(at, slice(max(stop - rows_step, 0), stop), slice(0, seen))


@functools.cache
def _future(dtype: np.dtype) -> Array:
    """The causal mask that is added to the scores of QUERY_ROWS queries and keys: -infinity above the diagonal."""
    return np.triu(np.full((QUERY_ROWS, QUERY_ROWS), -np.inf, dtype), 1)


def _scores_may_be_large(q: Array, k: Array, scale: float) -> bool:
    """Whether a score might exceed SAFE_SCORE: |q · k| is at most |q| |k|, so the largest norms decide.

    Nearly always it might not. Then exp needs no shift by the largest score of each row, and two passes are saved.
    """
    longest = []
    for x in (q, k):
        vectors = x.swapaxes(1, 2).reshape(-1, x.shape[-1])  # in the memory order of the projections
        longest.append(math.sqrt(float(np.vecdot(vectors, vectors).max(initial=0.0))))
    return not longest[0] * longest[1] * abs(scale) <= SAFE_SCORE  # `not <=`, so that NaN counts as large


def _empty_with_tokens_first(shape: tuple[int, ...], dtype: np.dtype) -> Array:
    """An array (B, H, T, D) laid out as (B, T, H, D), so that joining the heads afterwards copies nothing."""
    batch, heads, length, width = shape
    return buffers.empty((batch, length, heads, width), dtype).swapaxes(1, 2)
