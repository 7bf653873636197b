"""The linear layer (an affine map)."""

from __future__ import annotations

from tinygrad_llm.checks import expect_sizes
from tinygrad_llm.graph import TensorLike
from tinygrad_llm.nn import init
from tinygrad_llm.nn.module import Module, Parameter
from tinygrad_llm.ops.linear import linear
from tinygrad_llm.tensor import Tensor


class Linear(Module):
    """y = x Wᵀ + b.

    Both start uniform in ±1/√in_features, the weight drawn before the bias, as PyTorch's `nn.Linear`.

    Shapes: x (..., in_features) -> (..., out_features); weight (out_features, in_features), bias (out_features,)
    Raises: ConfigError for a size that is not an integer of at least 1
    """

    def __init__(self, in_features: int, out_features: int, bias: bool = True) -> None:
        expect_sizes("Linear", in_features=in_features, out_features=out_features)
        self.in_features, self.out_features = in_features, out_features
        bound = init.fan_in_bound(in_features)
        self.weight = Parameter(init.uniform(bound, (out_features, in_features)))
        self.bias = Parameter(init.uniform(bound, (out_features,))) if bias else None

    def forward(self, x: TensorLike) -> Tensor:
        return linear(x, self.weight, self.bias)

    def extra_repr(self) -> str:
        return f"in_features={self.in_features}, out_features={self.out_features}, bias={self.bias is not None}"
