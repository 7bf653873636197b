"""Scaled dot-product attention: every query takes a weighted mean of the values whose keys it matches."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy as np

from tinygrad_llm import buffers
from tinygrad_llm.arrays import Array
from tinygrad_llm.checks import expect_probability
from tinygrad_llm.errors import ConfigError, DTypeError, ShapeError
from tinygrad_llm.graph import Gradients, TensorLike, is_grad_enabled, record_operation
from tinygrad_llm.ops.dispatch import fuses, intercept, interceptable
from tinygrad_llm.ops.dropout import dropout_scale
from tinygrad_llm.ops.softmax import softmax_composed
from tinygrad_llm.primitives.operands import as_float, as_tensor, unbroadcast
from tinygrad_llm.random import Generator, default_generator
from tinygrad_llm.tensor import Tensor

QUERY_ROWS = 64  # queries per tile: fewer skip more of the future, more make larger products
TILE_SCORES = 1 << 16  # scores per tile, about: with its products, a tile stays in the L2 cache
SAFE_SCORE = 60.0  # exp(±60) and sums of it are far from float32's limits, so such scores need no shift


@contextmanager
def watch_attention_weights(watcher: Callable[[Tensor], Tensor]) -> Iterator[None]:
    """Call `watcher(weights)` in every attention of this thread; the attention goes on with the weights it returns.

    The definition runs in place of the tiles, which never hold all weights at once. Of nested watchers the outermost
    is called first.
    """

    def watch(op_name: str, call: Callable[..., Tensor], *args: Any, **kwargs: Any) -> Tensor:
        result = call(*args, **kwargs)
        return watcher(result) if op_name == attention_weights.__name__ else result

    def run_attention_definition(op_name: str, call: Callable[..., Tensor], *args: Any, **kwargs: Any) -> Tensor:
        is_attention = op_name == scaled_dot_product_attention.__name__
        return (scaled_dot_product_attention_composed if is_attention else call)(*args, **kwargs)

    with intercept(watch), intercept(run_attention_definition, replaces=True):
        yield


@interceptable
def attention_weights(
    query: Tensor,
    key: Tensor,
    attn_mask: TensorLike | None = None,
    is_causal: bool = False,
    scale: float | None = None,
) -> Tensor:
    """softmax(q kᵀ · scale), masked: the (B, H, T, S) weights that `scaled_dot_product_attention` never writes down.

    Where a query may see no key at all, its weights are 0.
    """
    queries, keys, mask, scale = _operands(query, key, key, attn_mask, is_causal, scale)
    scores = (queries * scale) @ keys.transpose(-2, -1)
    if mask is not None and mask.dtype.kind != "b":
        scores = scores + mask
    visible = visible_keys(queries.shape[-2], keys.shape[-2], mask, is_causal)
    if visible is not None:
        scores = scores.masked_fill(~visible, -math.inf)
    blind = np.isneginf(scores.data).all(axis=-1, keepdims=True)
    if not blind.any():
        return softmax_composed(scores)
    return softmax_composed(scores.masked_fill(blind, 0.0)).masked_fill(blind, 0.0)  # first, so that no NaN forms


def visible_keys(queries: int, keys: int, mask: Tensor | None, is_causal: bool) -> Array | None:
    """Which key each query may see, as booleans that broadcast to (..., T, S); None where all are seen.

    Causal means that the last query sees every key, the one before it all but the last, and so on: with as many keys
    as queries the usual triangle, and with more (a cache of earlier keys) the triangle's last rows.
    """
    visible = mask.data if mask is not None and mask.dtype.kind == "b" else None
    if is_causal:
        triangle = np.tril(np.ones((queries, keys), dtype=bool), keys - queries)
        visible = triangle if visible is None else visible & triangle
    return visible


def scaled_dot_product_attention_composed(
    query: TensorLike,
    key: TensorLike,
    value: TensorLike,
    attn_mask: TensorLike | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    scale: float | None = None,
    generator: Generator | None = None,
) -> Tensor:
    """The definition: what `scaled_dot_product_attention` must equal, gradients included."""
    query, key, value = as_float(query), as_float(key), as_float(value)
    _operands(query, key, value, attn_mask, is_causal, scale)
    expect_probability("scaled_dot_product_attention", "dropout_p", dropout_p)
    weights = attention_weights(query, key, attn_mask, is_causal, scale)
    if dropout_p:
        keep = (generator or default_generator()).dropout_mask(weights.shape, dropout_p)
        weights = weights * (keep * dropout_scale(dropout_p, weights.dtype))
    return weights @ repeat_heads(value, query.shape[-3] if query.ndim > 2 else 1)


@fuses(scaled_dot_product_attention_composed)
def scaled_dot_product_attention(
    query: TensorLike,
    key: TensorLike,
    value: TensorLike,
    attn_mask: TensorLike | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    scale: float | None = None,
    generator: Generator | None = None,
) -> Tensor:
    """o = softmax(q kᵀ / √D + mask) v (Vaswani et al. 2017, arXiv:1706.03762).

    Worked in tiles of a few heads and queries, with the keys that these may see (after Dao et al. 2022,
    arXiv:2205.14135):

        s = scale · q kᵀ + mask,  p = softmax(s),  o = p v
        dv = pᵀ do,  dp = do vᵀ,  ds = p ⊙ (dp - rowsum(dp ⊙ p)),  dq = scale · ds k,  dk = scale · dsᵀ q

    With dropout, p in the two products with v and do is the part that was kept, scaled by 1 / (1 - p).

    `attn_mask` is boolean (True: may look) or is added to the scores; it broadcasts to (B, H, T, S). `is_causal` hides
    the future: the last query sees every key (see `visible_keys`). Fewer key heads than query heads are shared by
    groups of neighbouring queries (Ainslie et al. 2023, arXiv:2305.13245). `scale` is 1/√D unless given.

    Shapes: query (..., H, T, D), key (..., G, S, D), value (..., G, S, E), H a multiple of G -> (..., H, T, E)
    Saves:  q, k, v, and p of the visible keys
    Raises: ShapeError for shapes that do not fit, DTypeError for an integer mask, ConfigError for a dropout_p that is
            no probability
    """
    query, key, value = as_float(query), as_float(key), as_float(value)
    queries, keys, mask, scale = _operands(query, key, value, attn_mask, is_causal, scale)
    expect_probability("scaled_dot_product_attention", "dropout_p", dropout_p)
    if mask is not None and mask.requires_grad:  # the tiles have no gradient for a learned mask
        return scaled_dot_product_attention_composed(
            query, key, value, attn_mask, dropout_p, is_causal, scale, generator
        )
    values = repeat_heads(value, queries.shape[-3] if queries.ndim > 2 else 1)
    heads = np.broadcast_shapes(queries.shape[:-2], keys.shape[:-2], values.shape[:-2])
    q, k, v = (_as_sequences_of_heads(x.data, heads) for x in (queries, keys, values))
    length, count = q.shape[-2], k.shape[-2]
    shape = (*q.shape[:-1], count)
    keep = None
    if dropout_p:
        keep = (generator or default_generator()).dropout_mask((*heads, length, count), dropout_p).reshape(shape)
        kept_scale = dropout_scale(dropout_p, q.dtype)
    full_mask = None if mask is None else np.broadcast_to(mask.data, (*heads, length, count)).reshape(shape)

    shift = _scores_may_be_large(q, k, scale) or (full_mask is not None and full_mask.dtype.kind != "b")
    o = _empty_with_tokens_first((*q.shape[:-1], v.shape[-1]), q.dtype)
    ones = np.ones((count, 1), q.dtype)
    future = _future(q.dtype) if is_causal else None
    k_t = buffers.copy(k.swapaxes(-1, -2))  # laid out anew once, rather than by BLAS for every product
    tiles = list(_tiles(shape, is_causal))
    going_back = is_grad_enabled() and (query.requires_grad or key.requires_grad or value.requires_grad)
    saved: list[tuple[Tile, Array]] = []
    for tile, p in zip(tiles, _memory_of_tiles(tiles, q.dtype, apart=going_back), strict=True):
        at, rows, seen = tile
        np.matmul(q[*at, rows], k_t[*at, :, seen], out=p)
        p *= scale
        if full_mask is not None:
            if full_mask.dtype.kind == "b":
                p[~full_mask[*at, rows, seen]] = -np.inf
            else:
                p += full_mask[*at, rows, seen]
        if future is not None:  # the last keys seen, one for each query, are those of which some are hidden from some
            queries_here, partly = p.shape[-2], min(p.shape[-2:])
            p[..., p.shape[-1] - partly :] += future[:queries_here, queries_here - partly : queries_here]
        if shift:
            largest = np.maximum.reduce(p, axis=-1, keepdims=True, initial=-np.inf)
            largest[np.isneginf(largest)] = 0  # a query that sees no key: exp(-inf - 0) = 0, not NaN
            p -= largest
        np.exp(p, out=p)
        total = p @ ones[seen]  # the row sums, as a product: BLAS adds along short rows faster than a reduction
        total[total == 0] = 1
        p *= 1 / total
        kept = p if keep is None else p * keep[*at, rows, seen] * kept_scale
        np.matmul(kept, v[*at, seen], out=o[*at, rows])
        if going_back:
            saved.append((tile, p))

    query_shape, key_shape, value_shape = query.shape, key.shape, value.shape

    def backward(do: Array) -> Gradients:
        do, v_t = do.reshape(o.shape), buffers.copy(v.swapaxes(-1, -2))
        dq = _empty_with_tokens_first(q.shape, q.dtype)
        dk, dv = _empty_with_tokens_first(k.shape, q.dtype), _empty_with_tokens_first(v.shape, q.dtype)
        if not saved:  # no query at all
            dk[...] = dv[...] = 0
        for ((at, rows, seen), p), ds in zip(saved, _memory_of_tiles(tiles, q.dtype, apart=False), strict=True):
            do_rows = do[*at, rows]
            kept = p if keep is None else p * keep[*at, rows, seen] * kept_scale
            np.matmul(do_rows, v_t[*at, :, seen], out=ds)
            if keep is not None:
                ds *= keep[*at, rows, seen]
                ds *= kept_scale
            ds -= np.vecdot(ds, p)[..., None]
            ds *= p
            ds *= scale
            np.matmul(ds, k[*at, seen], out=dq[*at, rows])
            if rows.stop == length:  # a head's first tile, whose last query sees every key
                np.matmul(kept.swapaxes(-1, -2), do_rows, out=dv[*at])
                np.matmul(ds.swapaxes(-1, -2), q[*at, rows], out=dk[*at])
            else:
                dv[*at, seen] += kept.swapaxes(-1, -2) @ do_rows
                dk[*at, seen] += ds.swapaxes(-1, -2) @ q[*at, rows]
        return (
            unbroadcast(dq.reshape(*heads, *q.shape[-2:]), query_shape),
            _sum_shared_heads(dk.reshape(*heads, *k.shape[-2:]), key_shape),
            _sum_shared_heads(dv.reshape(*heads, *v.shape[-2:]), value_shape),
        )

    return record_operation(o.reshape(*heads, *o.shape[-2:]), (query, key, value), backward)


def _operands(
    query: Tensor, key: Tensor, value: Tensor, attn_mask: TensorLike | None, is_causal: bool, scale: float | None
) -> tuple[Tensor, Tensor, Tensor | None, float]:
    """Query, key with a head for each of the query's, mask and scale; every shape checked."""
    op = "scaled_dot_product_attention"
    mask = None if attn_mask is None else as_tensor(attn_mask)
    got = f"got query {query.shape}, key {key.shape}, value {value.shape}"
    if min(query.ndim, key.ndim, value.ndim) < 2:
        raise ShapeError(f"{op}: query, key and value must be (..., H, T, D); {got}")
    if query.shape[-1] != key.shape[-1] or key.shape[-2] != value.shape[-2]:
        raise ShapeError(f"{op}: query and key must share D, key and value their length; {got}")
    if not query.shape[-1]:
        raise ShapeError(f"{op}: D must be at least 1; {got}")
    heads = query.shape[-3] if query.ndim > 2 else 1
    for other in (key, value):
        if other.ndim > 2 and (not other.shape[-3] or heads % other.shape[-3]):
            raise ShapeError(f"{op}: the query's heads must be a multiple of the key's and value's; {got}")
    try:
        batch = np.broadcast_shapes(query.shape[:-3], key.shape[:-3], value.shape[:-3])
    except ValueError:
        raise ShapeError(f"{op}: the axes before the heads must broadcast; {got}") from None
    if mask is not None:
        weights = (*batch, *query.shape[-3:-1], key.shape[-2])
        if mask.dtype.kind not in "bf":
            raise DTypeError(f"{op}: attn_mask must be boolean (True: may look) or float (added); got {mask.dtype}")
        if mask.dtype.kind == "f" and mask.dtype != query.dtype:
            mask = mask.astype(query.dtype)  # NumPy's masks are float64, which would make all after them so
        try:
            fits = np.broadcast_shapes(mask.shape, weights) == weights
        except ValueError:
            fits = False
        if not fits:
            raise ShapeError(f"{op}: attn_mask must broadcast to {weights}; got {mask.shape}")
    if scale is not None and not math.isfinite(scale):
        raise ConfigError(f"{op}: scale must be a finite number; got {scale}")
    return query, repeat_heads(key, heads), mask, 1 / math.sqrt(query.shape[-1]) if scale is None else scale


def repeat_heads(x: Tensor, heads: int) -> Tensor:
    """Share each of x's G heads among heads / G neighbouring queries: (..., G, S, D) -> (..., heads, S, D)."""
    if x.ndim < 3 or x.shape[-3] in (1, heads):
        return x  # nothing to repeat, or broadcasting does it
    *batch, groups, length, width = x.shape
    shared = x.unsqueeze(-3).broadcast_to((*batch, groups, heads // groups, length, width))
    return shared.reshape(*batch, heads, length, width)


def _sum_shared_heads(gradient: Array, shape: tuple[int, ...]) -> Array:
    """Undo `repeat_heads` and broadcasting: a shared head's gradient is the sum over the queries that share it."""
    if len(shape) > 2 and shape[-3] not in (1, gradient.shape[-3]):
        *batch, heads, length, width = gradient.shape
        groups = shape[-3]
        gradient = gradient.reshape(*batch, groups, heads // groups, length, width).sum(axis=-3)
    return unbroadcast(gradient, shape)


class Tile(NamedTuple):
    """A piece of the (B, H, T, S) scores that is worked at once: some heads, whole sequences if small, some queries."""

    at: tuple[slice, slice]  # the sequences, and their heads
    rows: slice  # the queries
    seen: slice  # the keys that any of these may see

    @property
    def shape(self) -> tuple[int, ...]:
        return tuple(piece.stop - piece.start for piece in (*self.at, self.rows, self.seen))


def _tiles(shape: tuple[int, ...], is_causal: bool) -> Iterator[Tile]:
    """Tiles of about TILE_SCORES scores that cover all that is visible; each head's last queries come first."""
    batch, heads, length, count = shape
    rows_step = QUERY_ROWS if is_causal else max(length, 1)
    heads_step = max(1, TILE_SCORES // max(1, min(rows_step, length) * count))
    batch_step = max(1, heads_step // max(1, heads))
    for first in range(0, batch, batch_step):
        for head in range(0, heads, heads_step):
            at = slice(first, min(first + batch_step, batch)), slice(head, min(head + heads_step, heads))
            for stop in range(length, 0, -rows_step):
                seen = min(max(stop + count - length, 0), count) if is_causal else count
                yield Tile(at, slice(max(stop - rows_step, 0), stop), slice(0, seen))


def _memory_of_tiles(tiles: list[Tile], dtype: np.dtype, apart: bool) -> Iterator[Array]:
    """An array for the scores of each tile: one behind the other, or, where none is kept, all in the same memory."""
    sizes = [math.prod(tile.shape) for tile in tiles]
    memory = buffers.empty((sum(sizes) if apart else max(sizes, default=0),), dtype)
    start = 0
    for tile, size in zip(tiles, sizes, strict=True):
        yield memory[start : start + size].reshape(tile.shape)
        start += size if apart else 0


@functools.cache
def _future(dtype: np.dtype) -> Array:
    """What to add to the scores of QUERY_ROWS queries and their own keys, so that none sees a later one."""
    return np.triu(np.full((QUERY_ROWS, QUERY_ROWS), -np.inf, dtype), 1)


def _as_sequences_of_heads(x: Array, heads: tuple[int, ...]) -> Array:
    """x (..., H, T, D), broadcast to the axes `heads`, as (B, H, T, D): a view wherever NumPy can give one."""
    x = np.broadcast_to(x, (*heads, *x.shape[-2:]))
    return x.reshape(math.prod(x.shape[:-3]), *x.shape[-3:]) if x.ndim > 2 else x[None, None]


def _scores_may_be_large(q: Array, k: Array, scale: float) -> bool:
    """Whether a score might exceed SAFE_SCORE: |q · k| is at most |q| |k|, so the longest of each decide.

    Nearly always it might not. Then exp needs no shift by the largest score of each row, and two passes are saved.
    """
    longest = []
    for x in (q, k):
        vectors = x.swapaxes(-3, -2).reshape(-1, x.shape[-1])  # in the order in which projections lie in memory
        longest.append(math.sqrt(float(np.vecdot(vectors, vectors).max(initial=0.0))))
    return not longest[0] * longest[1] * abs(scale) <= SAFE_SCORE  # `not <=`: NaN may be anything


def _empty_with_tokens_first(shape: tuple[int, ...], dtype: np.dtype) -> Array:
    """An array (..., H, T, D) laid out as (..., T, H, D), so that joining the heads afterwards copies nothing."""
    if len(shape) < 3:
        return buffers.empty(shape, dtype)
    *batch, heads, length, width = shape
    return buffers.empty((*batch, length, heads, width), dtype).swapaxes(-3, -2)
