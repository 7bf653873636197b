"""GELU as a layer. SiLU and ReLU are in `layers/activation.py`."""

from __future__ import annotations

from tinygrad_llm.graph import TensorLike
from tinygrad_llm.nn.module import Module
from tinygrad_llm.ops.gelu import gelu
from tinygrad_llm.tensor import Tensor


class GELU(Module):
    """The Gaussian error linear unit x Φ(x), or GPT-2's tanh approximation (Hendrycks and Gimpel 2016,
    arXiv:1606.08415).

    `approximate` is "none", the exact form, or "tanh".

    Shapes: x (...) -> (...)
    Raises: ConfigError for another `approximate`
    """

    def __init__(self, approximate: str = "none") -> None:
        gelu(0.0, approximate)  # an unknown form is refused now, not at the first forward
        self.approximate = approximate

    def forward(self, x: TensorLike) -> Tensor:
        return gelu(x, self.approximate)

    def extra_repr(self) -> str:
        return f"approximate={self.approximate!r}"
