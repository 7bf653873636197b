"""The dropout layer."""

from __future__ import annotations

from tinygrad_llm.checks import expect_probability
from tinygrad_llm.nn.module import Module
from tinygrad_llm.ops.dropout import dropout
from tinygrad_llm.random import Generator
from tinygrad_llm.tensor import Tensor, TensorLike


class Dropout(Module):
    """Zero each element with probability p while training, and scale the others by 1 / (1 - p).

    Masks come from `generator`; while that is None, from the default one that `manual_seed` seeds.
    """

    def __init__(self, p: float = 0.5, generator: Generator | None = None) -> None:
        expect_probability("Dropout", "p", p)
        self.p, self.generator = p, generator

    def forward(self, x: TensorLike) -> Tensor:
        return dropout(x, self.p, self.training, self.generator)

    def extra_repr(self) -> str:
        return f"p={self.p}"


def draw_dropout_from(module: Module, generator: Generator) -> None:
    """Let every dropout in `module` draw its masks from `generator`, a stream of their own."""
    for part in module.modules():
        if isinstance(part, Dropout):
            part.generator = generator
