"""The block that a Transformer stacks: attention between tokens, then a feed-forward layer on each token."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from tinygrad_llm.graph import TensorLike
from tinygrad_llm.nn.dropout import Dropout
from tinygrad_llm.nn.module import Module
from tinygrad_llm.primitives.operands import as_tensor
from tinygrad_llm.tensor import Tensor

if TYPE_CHECKING:
    from tinygrad_llm.nn.protocols import AttentionCache


class TransformerBlock(Module):
    """Attention and a feed-forward layer, each added to the residual stream.

        x = x + attention(norm1(x))
        x = x + cross_attention(norm_memory(x), memory)         in a decoder that reads an encoder's output
        x = x + feed_forward(norm2(x))

    This is the pre-norm form of GPT-2 (Radford et al. 2019): the residual stream is only ever added to, so gradients
    reach every depth. With `norm_first=False` each sum is normalised instead, x = norm1(x + attention(x)): the
    post-norm form of the first Transformer (Vaswani et al. 2017, arXiv:1706.03762) and of BERT. With `norm_after`, what
    the two parts compute is normalised too before it is added, as in Gemma 2 (arXiv:2408.00118).

    `norm` and `norm_after` are called once for each norm that the block needs. Dropout applies to what is added to x.

    Shapes: x (B, T, C), memory (B, S, C) -> (B, T, C)
    """

    # Set by `nn.checkpoint_activations`: called as recompute(block, forward, *args) in place of forward(*args).
    recompute: Callable[..., Tensor] | None = None

    def __init__(
        self,
        attention: Module,
        feed_forward: Module,
        norm: Callable[[], Module],
        dropout: float = 0.0,
        *,
        cross_attention: Module | None = None,
        norm_first: bool = True,
        norm_after: Callable[[], Module] | None = None,
    ) -> None:
        self.attention = attention
        self.feed_forward = feed_forward
        self.norm1, self.norm2 = norm(), norm()
        self.norm1_after = None if norm_after is None else norm_after()
        self.norm2_after = None if norm_after is None else norm_after()
        if cross_attention is not None:
            self.cross_attention = cross_attention
            self.norm_memory = norm()
        self.dropout = Dropout(dropout)
        self.norm_first = norm_first

    def forward(
        self,
        x: TensorLike,
        memory: TensorLike | None = None,
        memory_mask: TensorLike | None = None,
        memory_cache: AttentionCache | None = None,
        **options: Any,
    ) -> Tensor:
        """`options` (mask, cache, positions) are passed to the attention; see `MultiHeadAttention.forward`.

        `memory_mask` and `memory_cache` are the mask and the cache of the cross-attention.

        Shapes: x (B, T, C), memory (B, S, C) -> (B, T, C)
        """
        cached = memory_cache is not None or options.get("cache") is not None
        if self.recompute is not None and self.training and not cached:  # a second forward would fill a cache twice
            return self.recompute(self, self._all_parts, x, memory, memory_mask, memory_cache, **options)
        return self._all_parts(x, memory, memory_mask, memory_cache, **options)

    def _all_parts(self, x: TensorLike, *of_memory: Any, **options: Any) -> Tensor:
        x = self._residual(as_tensor(x), self.norm1, self.attention, self.norm1_after, **options)
        if of_memory[0] is not None:
            cross_options = dict(zip(("memory", "mask", "cache"), of_memory, strict=True))
            x = self._residual(x, self.norm_memory, self.cross_attention, **cross_options)
        return self._residual(x, self.norm2, self.feed_forward, self.norm2_after)

    def _residual(self, x: Tensor, norm: Module, part: Module, after: Module | None = None, **options: Any) -> Tensor:
        """x plus what `part` computes from it, normalised before or after."""
        if not self.norm_first:
            return norm(x + self.dropout(part(x, **options)))
        y = part(norm(x), **options)
        return x + self.dropout(y if after is None else after(y))
