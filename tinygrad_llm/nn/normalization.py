"""LayerNorm and RMSNorm with their learned scale (and shift)."""

from __future__ import annotations

import numpy as np

from tinygrad_llm.checks import expect_sizes
from tinygrad_llm.functions.normalization import rms_norm
from tinygrad_llm.nn.module import Module, Parameter
from tinygrad_llm.ops.layer_norm import layer_norm
from tinygrad_llm.tensor import Tensor, TensorLike


class LayerNorm(Module):
    """Mean 0 and variance 1 along the last axis, then scale and shift (Ba et al. 2016, arXiv:1607.06450).

    Shapes: x (..., normalized_dim) -> the same; weight and bias (normalized_dim,), starting at 1 and 0
    """

    def __init__(self, normalized_dim: int, eps: float = 1e-5, bias: bool = True) -> None:
        expect_sizes("LayerNorm", normalized_dim=normalized_dim)
        self.eps = eps
        self.weight = Parameter(np.ones(normalized_dim, np.float32))
        self.bias = Parameter(np.zeros(normalized_dim, np.float32)) if bias else None

    def forward(self, x: TensorLike) -> Tensor:
        return layer_norm(x, self.weight, self.bias, self.eps)

    def extra_repr(self) -> str:
        return f"{len(self.weight)}, eps={self.eps}"


class RMSNorm(Module):
    """Root mean square 1 along the last axis, then scale (Zhang and Sennrich 2019, arXiv:1910.07467).

    With `around_one` the scale is 1 + weight, as in Gemma, so that weight decay pulls it to 1 and not to 0.

    Shapes: x (..., normalized_dim) -> the same; weight (normalized_dim,), starting at a scale of 1
    """

    def __init__(self, normalized_dim: int, eps: float = 1e-5, *, around_one: bool = False) -> None:
        expect_sizes("RMSNorm", normalized_dim=normalized_dim)
        self.eps, self.around_one = eps, around_one
        self.weight = Parameter(np.full(normalized_dim, 0.0 if around_one else 1.0, np.float32))

    def forward(self, x: TensorLike) -> Tensor:
        return rms_norm(x, self.weight + 1.0 if self.around_one else self.weight, self.eps)

    def extra_repr(self) -> str:
        return f"{len(self.weight)}, eps={self.eps}"
