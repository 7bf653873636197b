"""The ops and primitives by PyTorch's usual name for this module: `import tinygrad_llm.nn.functional as F`."""

from typing import TYPE_CHECKING

from tinygrad_llm.lazy import lazy_names
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
from tinygrad_llm.primitives import logsumexp, pad, relu, sigmoid, tanh

if TYPE_CHECKING:
    from tinygrad_llm.functions import rms_norm, rotate, silu

__all__ = [
    "cross_entropy",
    "dropout",
    "embedding",
    "gelu",
    "layer_norm",
    "linear",
    "linear_cross_entropy",
    "log_softmax",
    "logsumexp",
    "pad",
    "relu",
    "rms_norm",
    "rotate",
    "scaled_dot_product_attention",
    "sigmoid",
    "silu",
    "softmax",
    "tanh",
]

__getattr__, __dir__ = lazy_names(__name__, {"tinygrad_llm.functions": ("rms_norm", "rotate", "silu")})
