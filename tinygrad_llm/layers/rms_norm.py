"""RMSNorm with its learned scale, over the features of a vector or over all heads of a token."""

from __future__ import annotations

import numpy as np

from tinygrad_llm.checks import expect_sizes
from tinygrad_llm.functions.normalization import rms_norm
from tinygrad_llm.graph import TensorLike
from tinygrad_llm.nn.module import Module, Parameter
from tinygrad_llm.primitives.operands import as_tensor
from tinygrad_llm.tensor import Tensor


class RMSNorm(Module):
    """Divide each vector by its root mean square, then scale it (Zhang and Sennrich 2019, arXiv:1910.07467).

        y = x / √(mean(x²) + eps) ⊙ weight

    The weight starts at 1. With `around_one` the scale is 1 + weight and the weight starts at 0, as in Gemma (Gemma
    Team 2024, arXiv:2403.08295), so that weight decay pulls the scale to 1 and not to 0.

    Shapes: x (..., C) -> (..., C); weight (C,), where C = normalized_dim
    Raises: ConfigError for a normalized_dim that is not an integer of at least 1
    """

    def __init__(self, normalized_dim: int, eps: float = 1e-5, *, around_one: bool = False) -> None:
        expect_sizes("RMSNorm", normalized_dim=normalized_dim)
        self.eps, self.around_one = eps, around_one
        self.weight = Parameter(np.full(normalized_dim, 0.0 if around_one else 1.0, np.float32))

    def forward(self, x: TensorLike) -> Tensor:
        return rms_norm(x, self.weight + 1.0 if self.around_one else self.weight, self.eps)

    def extra_repr(self) -> str:
        return f"{len(self.weight)}, eps={self.eps}"


class HeadsRMSNorm(RMSNorm):
    """RMSNorm over all heads of a token together, as OLMo 2 normalises queries and keys (OLMo Team 2025,
    arXiv:2501.00656).

    Shapes: x (..., H, T, D) -> the same; weight (H · D,), where H · D = normalized_dim
    """

    def forward(self, x: TensorLike) -> Tensor:
        tokens_first = as_tensor(x).transpose(-3, -2)
        joined = tokens_first.reshape(*tokens_first.shape[:-2], len(self.weight))
        return super().forward(joined).reshape(tokens_first.shape).transpose(-3, -2)
