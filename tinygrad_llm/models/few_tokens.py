"""The forward pass over a few new tokens, on plain arrays: the fast form of `LanguageModel.hidden`.

Through modules and ops, one token of a 30-layer model takes 900 ops, and each has its checks, its Tensor, its dispatch
and its silenced warnings. In training they are 1% of the time. A single token only reads each weight once, and there
they took half of it. Here each layer is its formula in NumPy and nothing else.

`FORMS` has one form per `forward` function. A layer whose forward has no form here, which has a hook or is in training
mode runs its own forward; so do all of them while ops are intercepted or observed. Weights are read anew in each pass.

Shapes: x is (N, C) between layers, the rows of B sequences of T new tokens each, N = B · T.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np

from tinygrad_llm import nn
from tinygrad_llm.arrays import Array
from tinygrad_llm.functions.activation import silu_block
from tinygrad_llm.functions.error_function import gelu_exact_block
from tinygrad_llm.graph import mode
from tinygrad_llm.layers.row_caches import LayerRows
from tinygrad_llm.nn import Module
from tinygrad_llm.ops import scaled_dot_product_attention
from tinygrad_llm.ops.dispatch import handlers
from tinygrad_llm.ops.gelu import gelu_tanh_block
from tinygrad_llm.ops.linear import times_table
from tinygrad_llm.tensor import Tensor

MOST_ROWS = 64  # of more rows the products take so long that the ops' own cost does not count


class Pass(NamedTuple):
    """What all layers of one pass share."""

    batch: int  # B
    tokens: int  # T
    mask: Any  # as in `scaled_dot_product_attention`
    positions: Any
    rotations: dict[int, tuple[Array, Array]]  # the cos and sin of each RotaryPositions, computed once


Form = Callable[..., Array]  # form(layer, x, pass) -> y


def suits(model: Module, ids: Array, cache: Any) -> bool:
    """Whether `hidden` may be used: a few tokens with a cache, nothing recorded, nobody watching."""
    return (
        cache is not None
        and ids.ndim == 2
        and 0 < ids.size <= MOST_ROWS
        and not (model.training or mode.recording or mode.observers or handlers.in_order)
    )


@np.errstate(all="ignore")
def hidden(model: Any, x: Array, cache: Any, mask: Any, positions: Any) -> Array:
    """All blocks and the final norm. Shapes: x (B, T, C), the embedded tokens -> (B, T, C)"""
    shape = x.shape
    step = Pass(shape[0], shape[1], mask, positions, {})
    x = x.reshape(-1, shape[-1])
    for block, layer_cache in zip(model.blocks, cache.layers, strict=True):
        x = run(block, x, step, layer_cache)
    return run(model.final_norm, x, step).reshape(shape)


def run(layer: Module, x: Array, step: Pass, *cache: Any) -> Array:
    """`layer` on the rows x, by its form if there is one. Shapes: (N, C) -> (N, C′)"""
    form = form_of(layer)
    if form is not None:
        return form(layer, x, step, *cache)
    if cache and isinstance(cache[0], LayerRows):
        return np.concatenate(
            [run(layer, *each, row) for each, row in zip(rows_of(x, step), cache[0].rows, strict=True)]
        )
    options = {"mask": step.mask, "cache": cache[0], "positions": step.positions} if cache else {}
    y = layer(Tensor(x.reshape(step.batch, step.tokens, -1)), **options).data
    return y.reshape(len(x), -1)


def rows_of(x: Array, step: Pass) -> Iterator[tuple[Array, Pass]]:
    """Each sequence's rows of x, and its own pass, for a layer without a form."""
    positions = np.broadcast_to(step.positions, (step.batch, step.tokens))
    for row, tokens in enumerate(x.reshape(step.batch, step.tokens, -1)):
        yield tokens, Pass(1, step.tokens, None, positions[row : row + 1], {})


def form_of(layer: Module) -> Form | None:
    """The form of the layer's forward; None if it has none, has a hook or trains."""
    if layer.training or layer._forward_hooks:
        return None
    return FORMS.get(getattr(layer.forward, "__func__", None))


# -- the form of each layer


def block(layer: Any, x: Array, step: Pass, cache: Any) -> Array:
    x = residual(layer, x, step, layer.norm1, layer.attention, layer.norm1_after, cache)
    return residual(layer, x, step, layer.norm2, layer.feed_forward, layer.norm2_after)


def residual(layer: Any, x: Array, step: Pass, norm: Module, part: Module, after: Module | None, *cache: Any) -> Array:
    if not layer.norm_first:
        return run(norm, x + run(layer.dropout, run(part, x, step, *cache), step), step)
    y = run(part, run(norm, x, step), step, *cache)
    return x + run(layer.dropout, y if after is None else run(after, y, step), step)


def sequential(layer: Any, x: Array, step: Pass) -> Array:
    for part in layer.children():
        x = run(part, x, step)
    return x


def dropout(layer: Any, x: Array, step: Pass) -> Array:
    return x  # in evaluation


def linear(layer: Any, x: Array, step: Pass) -> Array:
    y = times_table(x, layer.weight.data)
    if layer.bias is not None:
        y += layer.bias.data
    return y


def rms_norm(layer: Any, x: Array, step: Pass) -> Array:
    y = x * reciprocal_root_of_mean_square(x, layer.eps)
    y *= layer.weight.data + 1 if layer.around_one else layer.weight.data
    return y


def layer_norm(layer: Any, x: Array, step: Pass) -> Array:
    y = x - np.add.reduce(x, axis=-1, keepdims=True) / x.shape[-1]
    y -= np.add.reduce(y, axis=-1, keepdims=True) / x.shape[-1]  # the rounding error of the mean
    y *= reciprocal_root_of_mean_square(y, layer.eps)
    y *= layer.weight.data
    if layer.bias is not None:
        y += layer.bias.data
    return y


def reciprocal_root_of_mean_square(x: Array, eps: float) -> Array:
    """1/√(mean(x²) + eps) of each row. Shapes: (N, C) -> (N, 1)"""
    r = np.vecdot(x, x)[..., None]
    r /= x.shape[-1]
    r += eps
    return np.divide(1, np.sqrt(r, out=r), out=r)


def gelu(layer: Any, x: Array, step: Pass) -> Array:
    return elementwise(gelu_tanh_block if layer.approximate == "tanh" else gelu_exact_block, x)


def silu(layer: Any, x: Array, step: Pass) -> Array:
    return elementwise(silu_block, x)


def relu(layer: Any, x: Array, step: Pass) -> Array:
    return np.maximum(x, 0)


def elementwise(fill: Callable[[Array, Array, Array, Array], None], x: Array) -> Array:
    """The values of an elementwise function without its slope; see `row_blocks.value_and_slope`."""
    y = np.empty_like(x)
    fill(x, y, x[:0], np.empty((2, *x.shape), x.dtype))
    return y


def feed_forward(layer: Any, x: Array, step: Pass) -> Array:
    if layer.gate is None:
        return run(layer.down, run(layer.activation, run(layer.up, x, step), step), step)
    y = run(layer.activation, run(layer.gate, x, step), step)
    return run(layer.down, y * run(layer.up, x, step), step)


def attention(layer: Any, x: Array, step: Pass, cache: Any) -> Array:
    q, k, v = (
        run(projection, x, step).reshape(step.batch, step.tokens, -1, layer.head_dim)
        for projection in (layer.query, layer.key, layer.value)
    )
    if layer.query_norm is not None:
        q, k = head_norm(layer.query_norm, q, step), head_norm(layer.key_norm, k, step)
    if layer.rotary is not None:
        q, k = rotated(q, k, *rotation(layer.rotary, step))
    if isinstance(cache, LayerRows):
        rows = (slice(row, row + 1) for row in range(step.batch))
        parts = [attend_to_cache(layer, q[i], k[i], v[i], None, row) for i, row in zip(rows, cache.rows, strict=True)]
        heads = np.concatenate(parts).reshape(len(x), -1)
    else:
        heads = attend_to_cache(layer, q, k, v, step.mask, cache).reshape(len(x), -1)
    if type(layer)._project is not nn.MultiHeadAttention._project:  # such as a GatedAttention's
        return layer._project(Tensor(heads), Tensor(x)).data
    return run(layer.output, heads, step)


def attend_to_cache(layer: Any, q: Array, k: Array, v: Array, mask: Any, cache: Any) -> Array:
    """Append keys and values to a layer's cache, and attend to all of it. Shapes: q (B, T, H, D) -> (B, T, H, E)"""
    keys, values = cache.extend(k.swapaxes(1, 2), v.swapaxes(1, 2))
    if layer.window is not None:
        mask = nn.within_window(layer.window, q.shape[1], keys.shape[2], mask)
    return attend(q, keys, values, mask, layer.scale, layer.softcap)


def head_norm(norm: Module, x: Array, step: Pass) -> Array:
    """A norm of each head's features; one without a form gets x as in `MultiHeadAttention`. Shapes: (B, T, H, D)"""
    form = form_of(norm)
    if form is None:
        return norm(Tensor(x.swapaxes(1, 2))).data.swapaxes(1, 2)
    return form(norm, x.reshape(-1, x.shape[-1]), step).reshape(x.shape)


def rotation(rotary: Any, step: Pass) -> tuple[Array, Array]:
    """The factors of a pair's own features and of its partner's. Shapes: -> (B or 1, T, 1, 1, D/2), (..., 2, D/2)"""
    found = step.rotations.get(id(rotary))
    if found is None:
        angles = np.asarray(step.positions)[..., None, None, None] * rotary.frequencies
        cos, sin = rotary.magnitude * np.cos(angles), rotary.magnitude * np.sin(angles)
        found = step.rotations[id(rotary)] = cos, np.concatenate([-sin, sin], axis=-2)
    return found


def rotated(q: Array, k: Array, cos: Array, signed_sin: Array) -> tuple[Array, Array]:
    """`functions.rotary.rotate` of queries and keys together. Shapes: q (B, T, H, D), k (B, T, G, D) -> the same"""
    heads = q.shape[2]
    x = np.concatenate([q, k], axis=2)
    pairs = x.reshape(*x.shape[:-1], 2, -1)  # first halves, second halves
    y = pairs * cos.astype(x.dtype)
    y += pairs[..., ::-1, :] * signed_sin.astype(x.dtype)
    y = y.reshape(x.shape)
    return y[:, :, :heads], y[:, :, heads:]


def attend(
    q: Array, keys: Array, values: Array, mask: Any, scale: float | None = None, softcap: float | None = None
) -> Array:
    """Causal `scaled_dot_product_attention` for a few queries: all scores at once.

    Shapes: q (B, T, H, D), keys (B, G, S, D), values (B, G, S, E), mask broadcasting to (B, H, T, S) -> (B, T, H, E)
    """
    batch, tokens, heads, width = q.shape
    groups, length = keys.shape[1:3]
    mask = None if mask is None else np.asarray(mask)
    if mask is not None and (mask.dtype.kind != "b" or (mask.ndim > 2 and mask.shape[-3] != 1)):
        query, key, value = map(Tensor, (q.swapaxes(1, 2), keys, values))
        options = {"attn_mask": mask, "is_causal": True, "scale": scale, "softcap": softcap}
        return scaled_dot_product_attention(query, key, value, **options).data.swapaxes(1, 2)
    shared = (batch, tokens, groups, heads // groups, width)  # the query heads that share a key head
    q = q.reshape(shared).transpose(0, 2, 3, 1, 4).reshape(batch, groups, -1, width)
    p = q @ keys.swapaxes(2, 3)
    p *= 1 / math.sqrt(width) if scale is None else scale
    if softcap is not None:
        p = np.tanh(p / softcap) * softcap
    scores = p.reshape(batch, groups, heads // groups, tokens, length)  # the same memory
    if tokens > 1:
        scores[..., length - tokens :] += np.triu(np.full((tokens, tokens), -np.inf, p.dtype), 1)
    if mask is not None:
        np.copyto(scores, -np.inf, where=~(mask[..., None, :, :] if mask.ndim > 2 else mask))
    largest = np.maximum.reduce(p, axis=-1, keepdims=True)
    if mask is not None:
        largest[np.isneginf(largest)] = 0  # a query that sees no key: exp(-inf - 0) = 0, not NaN
    p -= largest
    np.exp(p, out=p)
    total = np.add.reduce(p, axis=-1, keepdims=True)
    if mask is not None:
        total[total == 0] = 1
    o = p @ values
    o /= total
    return o.reshape(batch, heads, tokens, -1).swapaxes(1, 2)


FORMS: dict[Any, Form] = {
    nn.Linear.forward: linear,
    nn.Sequential.forward: sequential,
    nn.Dropout.forward: dropout,
    nn.LayerNorm.forward: layer_norm,
    nn.RMSNorm.forward: rms_norm,
    nn.GELU.forward: gelu,
    nn.SiLU.forward: silu,
    nn.ReLU.forward: relu,
    nn.FeedForward.forward: feed_forward,
    nn.MultiHeadAttention.forward: attention,
    nn.TransformerBlock.forward: block,
}
