"""The ops and primitives by PyTorch's usual name for this module: `import tinygrad_llm.nn.functional as F`."""

from typing import TYPE_CHECKING

from tinygrad_llm.graph import Axis, TensorLike
from tinygrad_llm.lazy import lazy_imports
from tinygrad_llm.ops import (
    cross_entropy,
    dropout,
    embedding,
    gelu,
    layer_norm,
    linear,
    linear_cross_entropy,
    log_softmax,
    scaled_dot_product_attention,
    softmax,
)
from tinygrad_llm.primitives import as_tensor, pad
from tinygrad_llm.tensor import Tensor

if TYPE_CHECKING:
    from tinygrad_llm.functions import rms_norm, rotate, silu

__all__ = ["cross_entropy", "dropout", "embedding", "gelu", "layer_norm", "linear", "linear_cross_entropy"]
__all__ += ["log_softmax", "logsumexp", "pad", "relu", "rms_norm", "rotate", "scaled_dot_product_attention"]
__all__ += ["sigmoid", "silu", "softmax", "tanh"]

__getattr__, __dir__ = lazy_imports(__name__)


def relu(x: TensorLike) -> Tensor:
    """`x.relu()`: max(x, 0)."""
    return as_tensor(x).relu()


def sigmoid(x: TensorLike) -> Tensor:
    """`x.sigmoid()`: 1 / (1 + e⁻ˣ)."""
    return as_tensor(x).sigmoid()


def tanh(x: TensorLike) -> Tensor:
    """`x.tanh()`: the hyperbolic tangent."""
    return as_tensor(x).tanh()


def logsumexp(x: TensorLike, axis: Axis = None, keepdims: bool = False) -> Tensor:
    """`x.logsumexp(axis, keepdims)`: ln Σ eˣ along `axis`."""
    return as_tensor(x).logsumexp(axis, keepdims)
