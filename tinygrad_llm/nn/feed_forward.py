"""The part of a Transformer block that works on each token alone."""

from __future__ import annotations

import math

from tinygrad_llm.nn.activation import GELU
from tinygrad_llm.nn.linear import Linear
from tinygrad_llm.nn.module import Module
from tinygrad_llm.tensor import Tensor, TensorLike


def gated_hidden_dim(embedding_dim: int) -> int:
    """8/3 of the width, so that three matrices come to GPT's two of 4 times the width; rounded up to a multiple of 8.

    >>> gated_hidden_dim(768)
    2048
    """
    return 8 * math.ceil(embedding_dim / 3)


class FeedForward(Module):
    """Widen, bend, narrow: down(activation(up(x))).

    With `gated`, what is bent lets through what is not: down(activation(gate(x)) ⊙ up(x)), a GLU (Shazeer 2020,
    arXiv:2002.05202), which Llama has with SiLU ("SwiGLU") and Gemma with GELU.

    Shapes: x (..., embedding_dim) -> the same; inside (..., hidden_dim), which unless given is
    4 · embedding_dim, or `gated_hidden_dim` of it
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
