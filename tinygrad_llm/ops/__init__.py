"""The ops of a language model, one file per idea: first the composed definition, then the fused op beside it."""

from tinygrad_llm.ops.activation import gelu, silu
from tinygrad_llm.ops.attention import attention_weights, scaled_dot_product_attention
from tinygrad_llm.ops.cross_entropy import cross_entropy, linear_cross_entropy
from tinygrad_llm.ops.dispatch import FUSED, composed_ops
from tinygrad_llm.ops.dropout import dropout
from tinygrad_llm.ops.embedding import embedding
from tinygrad_llm.ops.linear import linear
from tinygrad_llm.ops.normalization import layer_norm, rms_norm
from tinygrad_llm.ops.rotary import rotate
from tinygrad_llm.ops.softmax import log_softmax, softmax

__all__ = [
    "FUSED",
    "attention_weights",
    "composed_ops",
    "cross_entropy",
    "dropout",
    "embedding",
    "gelu",
    "layer_norm",
    "linear",
    "linear_cross_entropy",
    "log_softmax",
    "rms_norm",
    "rotate",
    "scaled_dot_product_attention",
    "silu",
    "softmax",
]
