"""The block that a Transformer stacks: attention between tokens, then a feed-forward layer on each."""

from __future__ import annotations

from tinygrad_llm.nn.activation import GELU
from tinygrad_llm.nn.attention import MultiHeadAttention
from tinygrad_llm.nn.cache import LayerCache
from tinygrad_llm.nn.dropout import Dropout
from tinygrad_llm.nn.feed_forward import FeedForward
from tinygrad_llm.nn.module import Module
from tinygrad_llm.nn.normalization import LayerNorm
from tinygrad_llm.tensor import Tensor, TensorLike


class TransformerBlock(Module):
    """x + attention(norm1(x)), then x + feed_forward(norm2(x)): pre-norm, as GPT-2 (Radford et al. 2019).

    The residual stream x passes through unchanged but for what each part adds, so gradients reach every depth.

    `gelu` is the form of the feed-forward layer's GELU, "tanh" or "none" (exact).

    Shapes: x (B, T, embedding_dim) -> the same
    """

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
    ) -> None:
        self.attention = MultiHeadAttention(embedding_dim, num_heads, dropout, causal, qkv_bias)
        self.feed_forward = FeedForward(embedding_dim, feed_forward_dim, GELU(gelu))
        self.norm1 = LayerNorm(embedding_dim, norm_eps)
        self.norm2 = LayerNorm(embedding_dim, norm_eps)
        self.dropout = Dropout(dropout)

    def forward(self, x: TensorLike, mask: TensorLike | None = None, cache: LayerCache | None = None) -> Tensor:
        x = x + self.dropout(self.attention(self.norm1(x), mask=mask, cache=cache))
        return x + self.dropout(self.feed_forward(self.norm2(x)))
