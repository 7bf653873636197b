"""LayerNorm with its learned scale and shift. RMSNorm is in `layers/rms_norm.py`."""

from __future__ import annotations

import numpy as np

from tinygrad_llm.checks import expect_sizes
from tinygrad_llm.graph import TensorLike
from tinygrad_llm.nn.module import Module, Parameter
from tinygrad_llm.ops.layer_norm import layer_norm
from tinygrad_llm.tensor import Tensor


class LayerNorm(Module):
    """Normalise each vector to mean 0 and variance 1, then scale and shift it (Ba et al. 2016, arXiv:1607.06450).

        y = (x - mean(x)) / √(var(x) + eps) ⊙ weight + bias

    The weight starts at 1, the bias at 0.

    Shapes: x (..., C) -> (..., C); weight, bias (C,), where C = normalized_dim
    Raises: ConfigError for a normalized_dim that is not an integer of at least 1
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
