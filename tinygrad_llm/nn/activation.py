"""The nonlinearities as layers."""

from __future__ import annotations

from tinygrad_llm.functions.activation import silu
from tinygrad_llm.nn.module import Module
from tinygrad_llm.ops.gelu import gelu
from tinygrad_llm.primitives import relu
from tinygrad_llm.tensor import Tensor, TensorLike


class GELU(Module):
    """The Gaussian error linear unit, exact or in GPT-2's tanh form (Hendrycks and Gimpel 2016, arXiv:1606.08415)."""

    def __init__(self, approximate: str = "none") -> None:
        gelu(0.0, approximate)  # refuses an unknown form now rather than at the first forward
        self.approximate = approximate

    def forward(self, x: TensorLike) -> Tensor:
        return gelu(x, self.approximate)

    def extra_repr(self) -> str:
        return f"approximate={self.approximate!r}"


class SiLU(Module):
    """x σ(x), also called swish (Elfwing et al. 2017, arXiv:1702.03118)."""

    def forward(self, x: TensorLike) -> Tensor:
        return silu(x)


class ReLU(Module):
    """max(x, 0)."""

    def forward(self, x: TensorLike) -> Tensor:
        return relu(x)
