"""Multi-head latent attention: the keys and values of all heads are projections of one short vector, and only that
vector is cached.

Numbers in the cache per token and layer, compared with other kinds of attention:

    multi-head attention       2 · H · D
    grouped queries            2 · G · D
    a window of W tokens       2 · G · D, for the last W tokens only
    latent attention           L + R
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from tinygrad_llm.checks import expect_sizes
from tinygrad_llm.errors import GraphError
from tinygrad_llm.graph import TensorLike
from tinygrad_llm.layers.kv_cache import LayerCache
from tinygrad_llm.layers.rms_norm import RMSNorm
from tinygrad_llm.layers.rotary import RotaryPositions
from tinygrad_llm.nn.dropout import Dropout
from tinygrad_llm.nn.linear import Linear
from tinygrad_llm.nn.module import Module
from tinygrad_llm.ops.attention import scaled_dot_product_attention
from tinygrad_llm.primitives import cat
from tinygrad_llm.primitives.operands import as_tensor
from tinygrad_llm.tensor import Tensor


class MultiHeadLatentAttention(Module):
    """Causal attention through a bottleneck of `latent_dim` numbers per token (DeepSeek-AI 2024, arXiv:2405.04434).

        c = norm(W_c x),  k_h = [K_h c; r],  v_h = V_h c,  q_h = [Q_h x; rotated(P_h x)],  r = rotated(W_r x)

    A rotation by position does not commute with K_h; so R extra features carry the positions (R = rotary.head_dim, or 0
    without `rotary`), and all heads share those of the key. With a cache, keys and values are never computed per head:
    since q · (K_h c) = (K_hᵀ q) · c, each query attends to the latents themselves, which are the keys and values of
    every head, and V_h projects only their weighted mean.

    Shapes: x (B, T, C) -> (B, T, C), where C = embedding_dim; L = latent_dim, R = rotary.head_dim or 0
    Raises: ConfigError for a size that is not an integer of at least 1
    """

    def __init__(
        self,
        embedding_dim: int,
        num_heads: int,
        latent_dim: int,
        dropout: float = 0.0,
        *,
        head_dim: int | None = None,
        rotary: RotaryPositions | None = None,
        norm_eps: float = 1e-6,
    ) -> None:
        head_dim = embedding_dim // num_heads if head_dim is None else head_dim
        expect_sizes(
            "MultiHeadLatentAttention",
            embedding_dim=embedding_dim,
            num_heads=num_heads,
            latent_dim=latent_dim,
            head_dim=head_dim,
        )
        self.num_heads, self.head_dim, self.latent_dim = num_heads, head_dim, latent_dim
        self.rotary_dim = 0 if rotary is None else rotary.head_dim
        self.query = Linear(embedding_dim, num_heads * (head_dim + self.rotary_dim), bias=False)
        self.compress = Linear(embedding_dim, latent_dim + self.rotary_dim, bias=False)
        self.norm = RMSNorm(latent_dim, norm_eps)
        self.key = Linear(latent_dim, num_heads * head_dim, bias=False)
        self.value = Linear(latent_dim, num_heads * head_dim, bias=False)
        self.output = Linear(num_heads * head_dim, embedding_dim, bias=False)
        self.rotary = rotary
        self.dropout = Dropout(dropout)

    def forward(
        self, x: TensorLike, mask: TensorLike | None = None, cache: LayerCache | None = None, positions: Any = None
    ) -> Tensor:
        """Attend from x to x and to what the cache holds; `mask` as in `scaled_dot_product_attention`.

        `positions` are read by `rotary` only; unless given, x continues where the cache ends.

        Shapes: x (B, T, C), mask broadcasting to (B, H, T, S), positions (T,) or (B, T) -> (B, T, C)
        Raises: GraphError for a cache while gradients are recorded: it holds arrays without a graph
        """
        x = as_tensor(x)
        if positions is None:
            start = 0 if cache is None else cache.length
            positions = np.arange(start, start + x.shape[-2])
        queries = self._heads(self.query(x))
        compressed = self.compress(x).unsqueeze(-3)  # (B, 1, T, L + R): one head that all share
        latents = self.norm(compressed[..., : self.latent_dim])
        if self.rotary is None:
            rotated_queries, rotated_keys = queries[..., self.head_dim :], compressed[..., self.latent_dim :]
        else:
            rotated_queries, rotated_keys = self.rotary(
                positions, queries[..., self.head_dim :], compressed[..., self.latent_dim :]
            )
        queries = queries[..., : self.head_dim]
        if cache is None:
            values = self._heads(self.value(latents.squeeze(-3)))
            keys = self._heads(self.key(latents.squeeze(-3)))
            shared = rotated_keys.broadcast_to((*keys.shape[:-1], self.rotary_dim))
            attended = self._attend(cat([queries, rotated_queries], -1), cat([keys, shared], -1), values, mask)
        else:
            entries = cat([latents, rotated_keys], -1)
            if entries.requires_grad:
                raise GraphError("MultiHeadLatentAttention: no gradient flows through a cache; use it under no_grad()")
            held = Tensor(cache.extend(entries.data, entries.data[..., :0])[0])
            queries = queries @ self._per_head(self.key)  # K_hᵀ q, of width L
            attended = self._attend(
                cat([queries, rotated_queries], -1), held, held[..., : self.latent_dim], mask
            ) @ self._per_head(self.value).transpose(-2, -1)
        return self.output(attended.transpose(-3, -2).reshape(*x.shape[:-1], self.num_heads * self.head_dim))

    @property
    def cache_width(self) -> int:
        """The width of the cached vectors, latent_dim + rotary_dim. Units: numbers per token"""
        return self.latent_dim + self.rotary_dim

    def _attend(self, queries: Tensor, keys: Tensor, values: Tensor, mask: TensorLike | None) -> Tensor:
        return scaled_dot_product_attention(
            queries,
            keys,
            values,
            attn_mask=mask,
            dropout_p=self.dropout.p if self.training else 0.0,
            is_causal=True,
            scale=1 / math.sqrt(self.head_dim + self.rotary_dim),  # the width of a full key
            generator=self.dropout.generator,
        )

    def _heads(self, x: Tensor) -> Tensor:
        """(B, T, H · D) -> (B, H, T, D)."""
        return x.reshape(*x.shape[:-1], self.num_heads, x.shape[-1] // self.num_heads).transpose(-3, -2)

    def _per_head(self, projection: Linear) -> Tensor:
        """The weight (H · D, L) as (H, D, L)."""
        return projection.weight.reshape(self.num_heads, self.head_dim, self.latent_dim)

    def extra_repr(self) -> str:
        return f"num_heads={self.num_heads}, latent_dim={self.latent_dim}, rotary_dim={self.rotary_dim}"
