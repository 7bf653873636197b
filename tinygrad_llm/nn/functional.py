"""The ops and primitives by PyTorch's usual name for this module: `import tinygrad_llm.nn.functional as F`."""

from tinygrad_llm.ops import (
    cross_entropy,
    dropout,
    embedding,
    gelu,
    layer_norm,
    linear,
    linear_cross_entropy,
    log_softmax,
    rms_norm,
    rotate,
    scaled_dot_product_attention,
    silu,
    softmax,
)
from tinygrad_llm.primitives import logsumexp, pad, relu, sigmoid, tanh

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
