"""The part of a Transformer block that works on each token alone."""

from __future__ import annotations

import math

from tinygrad_llm.graph import TensorLike
from tinygrad_llm.nn.activation import GELU
from tinygrad_llm.nn.linear import Linear
from tinygrad_llm.nn.module import Module
from tinygrad_llm.tensor import Tensor


def gated_hidden_dim(embedding_dim: int) -> int:
    """The default width of a gated feed-forward layer: 8/3 of the embedding's, rounded up to a multiple of 8.

    With it, three matrices have about as many parameters as the two of an ungated layer of 4 times the width.

    >>> gated_hidden_dim(768)
    2048
    """
    return 8 * math.ceil(embedding_dim / 3)


class FeedForward(Module):
    """Expand, apply the activation, project back (Vaswani et al. 2017, arXiv:1706.03762, section 3.3).

        down(activation(up(x)))
        down(activation(gate(x)) ⊙ up(x))       with `gated`

    With `gated`, the activated branch multiplies the other: a GLU (Shazeer 2020, arXiv:2002.05202), which Llama uses
    with SiLU ("SwiGLU") and Gemma with GELU. The activation is GPT-2's tanh GELU unless given. `hidden_dim` is
    4 · embedding_dim unless given, or `gated_hidden_dim(embedding_dim)` with `gated`.

    Shapes: x (..., C) -> (..., C); inside (..., hidden_dim), where C = embedding_dim
    Raises: ConfigError for a size that is not an integer of at least 1
    """

    def __init__(
        self,
        embedding_dim: int,
        hidden_dim: int | None = None,
        activation: Module | None = None,
        *,
        bias: bool = True,
        gated: bool = False,
    ) -> None:
        if hidden_dim is None:
            hidden_dim = gated_hidden_dim(embedding_dim) if gated else 4 * embedding_dim
        self.gate = Linear(embedding_dim, hidden_dim, bias) if gated else None
        self.up = Linear(embedding_dim, hidden_dim, bias)
        self.activation = GELU("tanh") if activation is None else activation
        self.down = Linear(hidden_dim, embedding_dim, bias)

    def forward(self, x: TensorLike) -> Tensor:
        if self.gate is None:
            return self.down(self.activation(self.up(x)))
        return self.down(self.activation(self.gate(x)) * self.up(x))
