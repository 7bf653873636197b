"""SiLU and ReLU as layers."""

from __future__ import annotations

from tinygrad_llm.functions.activation import silu
from tinygrad_llm.graph import TensorLike
from tinygrad_llm.nn.module import Module
from tinygrad_llm.primitives import as_tensor
from tinygrad_llm.tensor import Tensor


class SiLU(Module):
    """x σ(x), also called swish (Elfwing et al. 2017, arXiv:1702.03118).

    Shapes: x (...) -> (...)
    """

    def forward(self, x: TensorLike) -> Tensor:
        return silu(x)


class ReLU(Module):
    """max(x, 0), the activation of the first Transformer (Vaswani et al. 2017, arXiv:1706.03762).

    Shapes: x (...) -> (...)
    """

    def forward(self, x: TensorLike) -> Tensor:
        return as_tensor(x).relu()
