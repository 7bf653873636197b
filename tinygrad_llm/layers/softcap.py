"""Softcapping: numbers are bounded smoothly, so that none grows without limit."""

from __future__ import annotations

import math

from tinygrad_llm.errors import ConfigError
from tinygrad_llm.graph import TensorLike
from tinygrad_llm.nn.linear import Linear
from tinygrad_llm.nn.module import Module, Parameter
from tinygrad_llm.tensor import Tensor


class SoftcappedHead(Module):
    """A head whose logits lie within ±softcap: softcap · tanh(linear(x) / softcap) (Gemma Team 2024, arXiv:2408.00118).

    The cap of attention scores is `softcap` of `scaled_dot_product_attention`.

    Shapes: x (..., C) -> (..., V), where C and V are the linear layer's
    Raises: ConfigError for a softcap that is not a finite number above 0
    """

    def __init__(self, linear: Linear, softcap: float) -> None:
        if not 0 < softcap < math.inf:
            raise ConfigError(f"SoftcappedHead: softcap must be a finite number above 0; got {softcap}")
        self.linear, self.softcap = linear, softcap

    def forward(self, x: TensorLike) -> Tensor:
        return (self.linear(x) / self.softcap).tanh() * self.softcap

    @property
    def weight(self) -> Parameter:
        """The linear layer's weight. Shapes: (V, C)"""
        return self.linear.weight

    def extra_repr(self) -> str:
        return f"softcap={self.softcap:g}"
