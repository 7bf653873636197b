"""The dropout layer."""

from __future__ import annotations

from tinygrad_llm.checks import expect_probability
from tinygrad_llm.graph import TensorLike
from tinygrad_llm.nn.module import Module
from tinygrad_llm.ops.dropout import dropout
from tinygrad_llm.random import Generator
from tinygrad_llm.tensor import Tensor


class Dropout(Module):
    """In training, set each element to 0 with probability p and scale the others by 1 / (1 - p), so that the expected
    value is preserved (Srivastava et al. 2014, JMLR 15). In evaluation, return x.

    Masks are drawn from `generator`, or from the default generator that `manual_seed` seeds while it is None.

    Shapes: x (...) -> (...)
    Raises: ConfigError for a p outside [0, 1]
    """

    def __init__(self, p: float = 0.5, generator: Generator | None = None) -> None:
        expect_probability("Dropout", "p", p)
        self.p, self.generator = p, generator

    def forward(self, x: TensorLike) -> Tensor:
        return dropout(x, self.p, self.training, self.generator)

    def extra_repr(self) -> str:
        return f"p={self.p}"


def draw_dropout_from(module: Module, generator: Generator) -> None:
    """Make every Dropout in `module` draw its masks from `generator` instead of the default generator."""
    for part in module.modules():
        if isinstance(part, Dropout):
            part.generator = generator
