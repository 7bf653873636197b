"""Multi-head attention: the one attention core of every model here.

What tells the models apart is only the mask (GPT's causal one, BERT's none) and where keys and values come from (the
same sequence, or an encoder's).
"""

from __future__ import annotations

from tinygrad_llm.errors import ConfigError, GraphError
from tinygrad_llm.nn.cache import LayerCache, MemoryCache
from tinygrad_llm.nn.dropout import Dropout
from tinygrad_llm.nn.linear import Linear
from tinygrad_llm.nn.module import Module
from tinygrad_llm.nn.sizes import expect_sizes
from tinygrad_llm.ops.attention import scaled_dot_product_attention
from tinygrad_llm.tensor import Tensor, TensorLike, as_tensor


class MultiHeadAttention(Module):
    """Several attentions side by side, each on its own projection (Vaswani et al. 2017, arXiv:1706.03762).

    `causal` hides the future. `num_kv_heads` fewer than `num_heads` are shared by groups of queries. `input_dim` is the
    width of the tokens where it differs from `embedding_dim`, the width of all heads together.

    Shapes: x (B, T, input_dim), memory (B, S, input_dim) -> (B, T, embedding_dim)
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
    ) -> None:
        num_kv_heads = num_heads if num_kv_heads is None else num_kv_heads
        input_dim = embedding_dim if input_dim is None else input_dim
        expect_sizes(
            "MultiHeadAttention", embedding_dim=embedding_dim, num_heads=num_heads, num_kv_heads=num_kv_heads
        )
        if embedding_dim % num_heads:
            raise ConfigError(
                "MultiHeadAttention: embedding_dim must be a multiple of num_heads; "
                f"got {embedding_dim} and {num_heads}"
            )
        if num_heads % num_kv_heads:
            raise ConfigError(
                f"MultiHeadAttention: num_heads must be a multiple of num_kv_heads; got {num_heads} and {num_kv_heads}"
            )
        self.num_heads, self.num_kv_heads, self.causal = num_heads, num_kv_heads, causal
        self.head_dim = embedding_dim // num_heads
        kv_dim = self.head_dim * num_kv_heads
        self.query = Linear(input_dim, embedding_dim, bias=qkv_bias)
        self.key = Linear(input_dim, kv_dim, bias=qkv_bias)
        self.value = Linear(input_dim, kv_dim, bias=qkv_bias)
        self.output = Linear(embedding_dim, embedding_dim)
        self.dropout = Dropout(dropout)

    def forward(
        self,
        x: TensorLike,
        memory: TensorLike | None = None,
        mask: TensorLike | None = None,
        cache: LayerCache | MemoryCache | None = None,
    ) -> Tensor:
        """Attend from x to `memory`, or to x itself; `mask` as in `scaled_dot_product_attention`.

        With a `cache`, keys and values of x are appended to it, and x attends to all that it holds. Raises GraphError
        if they are being recorded: a cache holds numbers, not their history. A `MemoryCache` keeps the keys and values
        of `memory` from the first call, and no later one works them out again.
        """
        x = as_tensor(x)
        source = x if memory is None else as_tensor(memory)
        queries = self._heads(self.query(x), self.num_heads)
        if isinstance(cache, MemoryCache) and cache.held is not None:
            keys, values = map(Tensor, cache.held)
        else:
            keys = self._heads(self.key(source), self.num_kv_heads)
            values = self._heads(self.value(source), self.num_kv_heads)
            if cache is not None:
                if keys.requires_grad or values.requires_grad:
                    raise GraphError("MultiHeadAttention: no gradient flows through a cache; use it under no_grad()")
                keys, values = map(Tensor, cache.extend(keys.data, values.data))
        attended = scaled_dot_product_attention(
            queries,
            keys,
            values,
            attn_mask=mask,
            dropout_p=self.dropout.p if self.training else 0.0,
            is_causal=self.causal and memory is None,
            generator=self.dropout.generator,
        )
        return self.output(attended.transpose(-3, -2).reshape(*x.shape[:-1], self.num_heads * self.head_dim))

    def _heads(self, x: Tensor, count: int) -> Tensor:
        """(B, T, count · D) -> (B, count, T, D)."""
        return x.reshape(*x.shape[:-1], count, self.head_dim).transpose(-3, -2)

    def extra_repr(self) -> str:
        return f"num_heads={self.num_heads}, causal={self.causal}"
