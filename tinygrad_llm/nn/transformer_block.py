"""The block that a Transformer stacks: attention between tokens, then a feed-forward layer on each."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tinygrad_llm.nn.activation import GELU
from tinygrad_llm.nn.attention import MultiHeadAttention
from tinygrad_llm.nn.cache import MemoryCache
from tinygrad_llm.nn.checkpoint import recompute
from tinygrad_llm.nn.dropout import Dropout
from tinygrad_llm.nn.feed_forward import FeedForward
from tinygrad_llm.nn.module import Module
from tinygrad_llm.nn.normalization import LayerNorm
from tinygrad_llm.tensor import Tensor, TensorLike, as_tensor


class TransformerBlock(Module):
    """x + attention(norm1(x)), then x + feed_forward(norm2(x)): pre-norm, as GPT-2 (Radford et al. 2019).

    The residual stream x passes through unchanged but for what each part adds, so gradients reach every depth. With
    `norm_first=False` each sum is normalised instead, norm1(x + attention(x)), as the first Transformer did (Vaswani et
    al. 2017, arXiv:1706.03762) and BERT after it.

    Every part may be another: `attention` and `feed_forward` are modules that take the place of GPT-2's, which the
    numbers describe (`gelu` is its GELU's form, "tanh" or "none", exact); `norm` makes a normalisation. With
    `cross_attention` a decoder's block looks at an encoder's output, its memory, in between:
    x + cross_attention(norm_memory(x), memory).

    Shapes: x (B, T, embedding_dim), memory (B, S, embedding_dim) -> the shape of x
    """

    checkpointed = False  # whether training recomputes the block in backward; see `checkpoint_activations`

    def __init__(
        self,
        embedding_dim: int,
        num_heads: int,
        dropout: float = 0.0,
        causal: bool = True,
        qkv_bias: bool = False,
        feed_forward_dim: int | None = None,
        norm_eps: float = 1e-5,
        gelu: str = "tanh",
        *,
        attention: Module | None = None,
        feed_forward: Module | None = None,
        norm: Callable[[], Module] | None = None,
        norm_first: bool = True,
        cross_attention: bool = False,
    ) -> None:
        norm = (lambda: LayerNorm(embedding_dim, norm_eps)) if norm is None else norm
        self.attention = attention or MultiHeadAttention(embedding_dim, num_heads, dropout, causal, qkv_bias)
        self.feed_forward = feed_forward or FeedForward(embedding_dim, feed_forward_dim, GELU(gelu))
        self.norm1, self.norm2 = norm(), norm()
        if cross_attention:
            self.cross_attention = MultiHeadAttention(embedding_dim, num_heads, dropout, False, qkv_bias)
            self.norm_memory = norm()
        self.dropout = Dropout(dropout)
        self.norm_first = norm_first

    def forward(
        self,
        x: TensorLike,
        memory: TensorLike | None = None,
        memory_mask: TensorLike | None = None,
        memory_cache: MemoryCache | None = None,
        **reading: Any,
    ) -> Tensor:
        """`reading`, such as mask and cache, says what the attention may see; it is handed on to it.

        `memory_mask` and `memory_cache` are the same for the attention to the `memory`.
        """
        cached = memory_cache is not None or reading.get("cache") is not None  # reading twice would fill it twice
        if self.checkpointed and self.training and not cached:
            return recompute(self, self._both_parts, x, memory, memory_mask, memory_cache, **reading)
        return self._both_parts(x, memory, memory_mask, memory_cache, **reading)

    def _both_parts(
        self,
        x: TensorLike,
        memory: TensorLike | None,
        memory_mask: TensorLike | None,
        memory_cache: MemoryCache | None,
        **reading: Any,
    ) -> Tensor:
        x = self._residual(as_tensor(x), self.norm1, self.attention, **reading)
        if memory is not None:
            seen = {"memory": memory, "mask": memory_mask, "cache": memory_cache}
            x = self._residual(x, self.norm_memory, self.cross_attention, **seen)
        return self._residual(x, self.norm2, self.feed_forward)

    def _residual(self, x: Tensor, norm: Module, part: Module, **reading: Any) -> Tensor:
        if self.norm_first:
            return x + self.dropout(part(norm(x), **reading))
        return norm(x + self.dropout(part(x, **reading)))


def checkpoint_activations(module: Module, on: bool = True) -> None:
    """Let every TransformerBlock in `module` recompute its activations in backward when it trains; see `checkpoint`.

    Losses and gradients stay the same to the bit. Only where several blocks read one `memory` is the gradient of that
    memory added up in another order, and so rounded differently.
    """
    for part in module.modules():
        if isinstance(part, TransformerBlock):
            part.checkpointed = on
