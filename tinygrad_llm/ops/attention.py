"""Scaled dot-product attention: each query takes the mean of the values, weighted by how well their keys match it."""

from __future__ import annotations

import math

import numpy as np

from tinygrad_llm.arrays import Array
from tinygrad_llm.checks import expect_probability
from tinygrad_llm.errors import ConfigError, DTypeError, ShapeError
from tinygrad_llm.graph import Gradients, TensorLike, is_grad_enabled, record_operation
from tinygrad_llm.ops.attention_tiles import TiledAttention, backward_tiles, forward_tiles
from tinygrad_llm.ops.dispatch import fuses, interceptable
from tinygrad_llm.ops.dropout import dropout_scale
from tinygrad_llm.ops.softmax import softmax_composed
from tinygrad_llm.primitives.operands import as_float, as_tensor, unbroadcast
from tinygrad_llm.random import Generator, default_generator
from tinygrad_llm.tensor import Tensor


@interceptable
def attention_weights(
    query: Tensor,
    key: Tensor,
    attn_mask: TensorLike | None = None,
    is_causal: bool = False,
    scale: float | None = None,
    softcap: float | None = None,
) -> Tensor:
    """softmax(q kᵀ · scale), masked: the weights of `scaled_dot_product_attention`, which stores few of them.

    A query that may see no key has weights 0. Shapes: query (B, H, T, D), key (B, G, S, D) -> (B, H, T, S)
    """
    queries, keys, mask, scale = _operands(query, key, key, attn_mask, scale, softcap)
    scores = (queries * scale) @ keys.transpose(-2, -1)
    if softcap is not None:
        scores = (scores / softcap).tanh() * softcap
    if mask is not None and mask.dtype.kind != "b":
        scores = scores + mask
    visible = visible_keys(queries.shape[-2], keys.shape[-2], mask, is_causal)
    if visible is not None:
        scores = scores.masked_fill(~visible, -math.inf)
    blind = np.isneginf(scores.data).all(axis=-1, keepdims=True)
    if not blind.any():
        return softmax_composed(scores)
    # Filled before the softmax too, so that no NaN arises.
    return softmax_composed(scores.masked_fill(blind, 0.0)).masked_fill(blind, 0.0)


def visible_keys(queries: int, keys: int, mask: Tensor | None, is_causal: bool) -> Array | None:
    """The keys that each query may see, as booleans that broadcast to (..., T, S); None where it may see all.

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
    softcap: float | None = None,
) -> Tensor:
    """The definition: what `scaled_dot_product_attention` must equal, gradients included."""
    query, key, value = as_float(query), as_float(key), as_float(value)
    _operands(query, key, value, attn_mask, scale, softcap)
    expect_probability("scaled_dot_product_attention", "dropout_p", dropout_p)
    weights = attention_weights(query, key, attn_mask, is_causal, scale, softcap)
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
    softcap: float | None = None,
) -> Tensor:
    """o = softmax(q kᵀ / √D + mask) v (Vaswani et al. 2017, arXiv:1706.03762).

        p = softmax(scale · q kᵀ + mask),  o = p v
        dv = pᵀ do,  ds = p ⊙ (do vᵀ - rowsum(do vᵀ ⊙ p)),  dq = scale · ds k,  dk = scale · dsᵀ q

    Of more than KEPT_KEYS keys the weights p are not stored: backward computes them again (see `attention_tiles`).

    `attn_mask` is boolean (True: may look) or is added to the scores; it broadcasts to (B, H, T, S). `is_causal` hides
    the future: the last query sees every key (see `visible_keys`). Fewer key heads than query heads are shared by
    groups of neighbouring queries (Ainslie et al. 2023, arXiv:2305.13245). `scale` is 1/√D unless given. `softcap`
    bounds each score s before the mask, as softcap · tanh(s / softcap) (Gemma Team 2024, arXiv:2408.00118).

    Shapes: query (..., H, T, D), key (..., G, S, D), value (..., G, S, E), H a multiple of G -> (..., H, T, E)
    Saves:  q, k, v, and p of the visible keys or, of more than KEPT_KEYS keys, the mask; what dropout keeps
    Raises: ShapeError for shapes that do not fit, DTypeError for an integer mask, ConfigError for a dropout_p that is
            no probability
    """
    query, key, value = as_float(query), as_float(key), as_float(value)
    queries, keys, mask, scale = _operands(query, key, value, attn_mask, scale, softcap)
    expect_probability("scaled_dot_product_attention", "dropout_p", dropout_p)
    if mask is not None and mask.requires_grad:  # the tiles have no gradient for a learned mask
        return scaled_dot_product_attention_composed(
            query, key, value, attn_mask, dropout_p, is_causal, scale, generator, softcap
        )
    values = repeat_heads(value, queries.shape[-3] if queries.ndim > 2 else 1)
    heads = np.broadcast_shapes(queries.shape[:-2], keys.shape[:-2], values.shape[:-2])
    q, k, v = (_as_sequences_of_heads(x.data, heads) for x in (queries, keys, values))
    weights_shape = (*heads, q.shape[-2], k.shape[-2])
    keep = None
    if dropout_p:
        keep = (generator or default_generator()).dropout_mask(weights_shape, dropout_p)
        keep = _as_sequences_of_heads(keep, heads)
    given = None if mask is None else _as_sequences_of_heads(np.broadcast_to(mask.data, weights_shape), heads)
    inputs = TiledAttention(q, k, v, scale, softcap, is_causal, given, keep, dropout_scale(dropout_p, q.dtype))
    wants_gradient = is_grad_enabled() and (query.requires_grad or key.requires_grad or value.requires_grad)
    o, saved = forward_tiles(inputs, wants_gradient)
    if saved:
        inputs = inputs._replace(mask=None)  # backward uses the weights, not the mask
    tiled_shape, query_shape, key_shape, value_shape = o.shape, query.shape, key.shape, value.shape

    def backward(do: Array) -> Gradients:
        dq, dk, dv = backward_tiles(inputs, saved, do.reshape(tiled_shape))
        return (
            unbroadcast(dq.reshape(*heads, *dq.shape[-2:]), query_shape),
            _sum_shared_heads(dk.reshape(*heads, *dk.shape[-2:]), key_shape),
            _sum_shared_heads(dv.reshape(*heads, *dv.shape[-2:]), value_shape),
        )

    return record_operation(o.reshape(*heads, *o.shape[-2:]), (query, key, value), backward)


def _operands(
    query: Tensor, key: Tensor, value: Tensor, attn_mask: TensorLike | None, scale: float | None, softcap: float | None
) -> tuple[Tensor, Tensor, Tensor | None, float]:
    """The query, the key with as many heads as the query, the mask and the scale, once every shape is checked."""
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
            mask = mask.astype(query.dtype)  # a float64 mask would promote every later result to float64
        try:
            fits = np.broadcast_shapes(mask.shape, weights) == weights
        except ValueError:
            fits = False
        if not fits:
            raise ShapeError(f"{op}: attn_mask must broadcast to {weights}; got {mask.shape}")
    if scale is not None and not math.isfinite(scale):
        raise ConfigError(f"{op}: scale must be a finite number; got {scale}")
    if softcap is not None and not 0 < softcap < math.inf:
        raise ConfigError(f"{op}: softcap must be a finite number above 0; got {softcap}")
    return query, repeat_heads(key, heads), mask, 1 / math.sqrt(query.shape[-1]) if scale is None else scale


def repeat_heads(x: Tensor, heads: int) -> Tensor:
    """Share each of x's G heads among heads / G neighbouring queries: (..., G, S, D) -> (..., heads, S, D)."""
    if x.ndim < 3 or x.shape[-3] in (1, heads):
        return x  # no repetition is needed, or broadcasting does it
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


def _as_sequences_of_heads(x: Array, heads: tuple[int, ...]) -> Array:
    """x (..., H, T, D), broadcast to the axes `heads`, as (B, H, T, D): a view wherever NumPy can give one."""
    x = np.broadcast_to(x, (*heads, *x.shape[-2:]))
    return x.reshape(math.prod(x.shape[:-3]), *x.shape[-3:]) if x.ndim > 2 else x[None, None]
