"""The ops of a GPT, one file per idea: the composed definition above its fused form."""

from typing import TYPE_CHECKING

from tinygrad_llm.lazy import lazy_imports
from tinygrad_llm.ops.attention import attention_weights, scaled_dot_product_attention
from tinygrad_llm.ops.cross_entropy import cross_entropy, linear_cross_entropy
from tinygrad_llm.ops.dispatch import FUSED, composed_ops, intercept
from tinygrad_llm.ops.dropout import dropout
from tinygrad_llm.ops.embedding import embedding
from tinygrad_llm.ops.gelu import gelu
from tinygrad_llm.ops.layer_norm import layer_norm
from tinygrad_llm.ops.linear import linear
from tinygrad_llm.ops.softmax import log_softmax, softmax

if TYPE_CHECKING:
    from tinygrad_llm.functions import rms_norm, rotate, silu

__all__ = ["FUSED", "attention_weights", "composed_ops", "cross_entropy", "dropout", "embedding", "gelu", "intercept"]
__all__ += ["layer_norm", "linear", "linear_cross_entropy", "log_softmax", "rms_norm", "rotate"]
__all__ += ["scaled_dot_product_attention", "silu", "softmax"]

__getattr__, __dir__ = lazy_imports(__name__)
