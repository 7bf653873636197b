"""Multi-head attention: the one attention core of every model here.

The models differ in the mask (causal in GPT, none in BERT) and in where keys and values come from (the same sequence,
or an encoder's output). The Llama family adds options: shared key-value heads, rotary positions, normalised queries and
keys, a window.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from tinygrad_llm import nn
from tinygrad_llm.checks import expect_multiple, expect_sizes
from tinygrad_llm.errors import ConfigError, GraphError
from tinygrad_llm.graph import TensorLike
from tinygrad_llm.nn.dropout import Dropout
from tinygrad_llm.nn.linear import Linear
from tinygrad_llm.nn.module import Module
from tinygrad_llm.ops.attention import scaled_dot_product_attention
from tinygrad_llm.primitives.operands import as_tensor
from tinygrad_llm.tensor import Tensor

if TYPE_CHECKING:
    from tinygrad_llm.nn.protocols import AttentionCache, Rotary


class MultiHeadAttention(Module):
    """Several attention heads, each on its own projection of the tokens (Vaswani et al. 2017, arXiv:1706.03762).

        head_h = softmax(mask(Q_h x · K_h memory / √D)) · V_h memory,   y = W_o [head_1 ... head_H]

    `causal` hides the future. With `num_kv_heads` below `num_heads`, groups of query heads share one head of keys and
    values (Ainslie et al. 2023, arXiv:2305.13245). `input_dim` is the width of the tokens where it differs from
    `embedding_dim`; `head_dim` is embedding_dim / num_heads unless given.

    `rotary` rotates queries and keys by their positions. Before that, `head_norm`, called twice, makes a norm for every
    head's queries and one for its keys (Henry et al. 2020, arXiv:2010.04245). With `window` a token attends to itself
    and the window - 1 tokens before it (Beltagy et al. 2020, arXiv:2004.05150); a `WindowCache` keeps no more. `scale`
    and `softcap` are those of `scaled_dot_product_attention`.

    Shapes: x (B, T, input_dim), memory (B, S, input_dim) -> (B, T, embedding_dim); H = num_heads, D = head_dim
    Raises: ConfigError for sizes that do not divide, a rotary for another head_dim, or a window without `causal`
    """

    def __init__(
        self,
        embedding_dim: int,
        num_heads: int,
        dropout: float = 0.0,
        causal: bool = False,
        qkv_bias: bool = False,
        num_kv_heads: int | None = None,
        input_dim: int | None = None,
        *,
        head_dim: int | None = None,
        output_bias: bool = True,
        rotary: Rotary | None = None,
        head_norm: Callable[[], Module] | None = None,
        window: int | None = None,
        scale: float | None = None,
        softcap: float | None = None,
    ) -> None:
        num_kv_heads = num_heads if num_kv_heads is None else num_kv_heads
        input_dim = embedding_dim if input_dim is None else input_dim
        expect_sizes("MultiHeadAttention", embedding_dim=embedding_dim, num_heads=num_heads, num_kv_heads=num_kv_heads)
        if head_dim is None:
            expect_multiple("MultiHeadAttention", embedding_dim=embedding_dim, num_heads=num_heads)
        expect_multiple("MultiHeadAttention", num_heads=num_heads, num_kv_heads=num_kv_heads)
        head_dim = embedding_dim // num_heads if head_dim is None else head_dim
        expect_sizes("MultiHeadAttention", head_dim=head_dim, window=1 if window is None else window)
        if rotary is not None and rotary.head_dim != head_dim:
            raise ConfigError(
                f"MultiHeadAttention: rotary must rotate heads of {head_dim} features; got one for {rotary.head_dim}"
            )
        if window is not None and not causal:
            raise ConfigError(
                "MultiHeadAttention: causal must be True with a window, which covers past tokens; got False"
            )
        self.num_heads, self.num_kv_heads, self.head_dim = num_heads, num_kv_heads, head_dim
        self.causal, self.window, self.scale, self.softcap = causal, window, scale, softcap
        self.query = Linear(input_dim, head_dim * num_heads, bias=qkv_bias)
        self.key = Linear(input_dim, head_dim * num_kv_heads, bias=qkv_bias)
        self.value = Linear(input_dim, head_dim * num_kv_heads, bias=qkv_bias)
        self.output = Linear(head_dim * num_heads, embedding_dim, bias=output_bias)
        self.query_norm = None if head_norm is None else head_norm()
        self.key_norm = None if head_norm is None else head_norm()
        self.rotary = rotary
        self.dropout = Dropout(dropout)

    def forward(
        self,
        x: TensorLike,
        memory: TensorLike | None = None,
        mask: TensorLike | None = None,
        cache: AttentionCache | None = None,
        positions: Any = None,
    ) -> Tensor:
        """Attend from x to `memory`, or to x itself; `mask` as in `scaled_dot_product_attention`.

        With a `cache`, the keys and values of x are appended to it, and x attends to all that it holds. A `MemoryCache`
        keeps those of `memory` from the first call, and later calls do not compute them again. `positions` are read by
        `rotary` only; unless given, x continues where the cache ends.

        Shapes: x (B, T, input_dim), memory (B, S, input_dim), mask broadcasting to (B, H, T, S), positions (T,) or
                (B, T) -> (B, T, embedding_dim)
        Raises: GraphError for a cache while gradients are recorded: it holds arrays without a graph; ConfigError for a
                memory with rotary positions
        """
        x = as_tensor(x)
        source = x if memory is None else as_tensor(memory)
        queries = self._heads(self.query(x), self.num_heads)
        if self.query_norm is not None:
            queries = self.query_norm(queries)
        if cache is not None and cache.held is not None:
            keys, values = map(Tensor, cache.held)
        else:
            keys = self._heads(self.key(source), self.num_kv_heads)
            values = self._heads(self.value(source), self.num_kv_heads)
            if self.key_norm is not None:
                keys = self.key_norm(keys)
            if self.rotary is not None:
                if memory is not None:
                    raise ConfigError(
                        "MultiHeadAttention: rotary positions need queries and keys of one sequence; got a memory"
                    )
                if positions is None:
                    start = 0 if cache is None else cache.length
                    positions = np.arange(start, start + x.shape[-2])
                queries, keys = self.rotary(positions, queries, keys)
            if cache is not None:
                if keys.requires_grad or values.requires_grad:
                    raise GraphError("MultiHeadAttention: no gradient flows through a cache; use it under no_grad()")
                keys, values = map(Tensor, cache.extend(keys.data, values.data))
        if self.window is not None:
            mask = nn.within_window(self.window, x.shape[-2], keys.shape[-2], mask)
        attended = scaled_dot_product_attention(
            queries,
            keys,
            values,
            attn_mask=mask,
            dropout_p=self.dropout.p if self.training else 0.0,
            is_causal=self.causal and memory is None,
            scale=self.scale,
            generator=self.dropout.generator,
            softcap=self.softcap,
        )
        return self._project(attended.transpose(-3, -2).reshape(*x.shape[:-1], self.num_heads * self.head_dim), x)

    def _project(self, heads: Tensor, x: Tensor) -> Tensor:
        """What the heads found, side by side, to the output. Shapes: heads (B, T, H · D) -> (B, T, embedding_dim)"""
        return self.output(heads)

    @property
    def cache_width(self) -> int:
        """How many numbers a cache keeps per token: 2 · num_kv_heads · head_dim."""
        return 2 * self.num_kv_heads * self.head_dim

    def _heads(self, x: Tensor, count: int) -> Tensor:
        """(B, T, count · D) -> (B, count, T, D)."""
        return x.reshape(*x.shape[:-1], count, self.head_dim).transpose(-3, -2)

    def extra_repr(self) -> str:
        window = "" if self.window is None else f", window={self.window}"
        shared = "" if self.num_kv_heads == self.num_heads else f", num_kv_heads={self.num_kv_heads}"
        return f"num_heads={self.num_heads}{shared}, causal={self.causal}{window}"
