"""Layers: modules with parameters, the one attention core, and the block that Transformers stack.

The files of this room are what training a GPT needs. The layers in `layers/` are offered here by name as well, and
imported when they are first used.
"""

from typing import TYPE_CHECKING

from tinygrad_llm.lazy import lazy_imports
from tinygrad_llm.nn import init
from tinygrad_llm.nn.activation import GELU
from tinygrad_llm.nn.attention import MultiHeadAttention
from tinygrad_llm.nn.dropout import Dropout, draw_dropout_from
from tinygrad_llm.nn.embedding import Embedding
from tinygrad_llm.nn.feed_forward import FeedForward
from tinygrad_llm.nn.linear import Linear
from tinygrad_llm.nn.module import Buffer, Module, ModuleList, Parameter
from tinygrad_llm.nn.normalization import LayerNorm
from tinygrad_llm.nn.transformer_block import TransformerBlock

if TYPE_CHECKING:
    from tinygrad_llm.layers.activation import ReLU, SiLU
    from tinygrad_llm.layers.checkpoint import checkpoint, checkpoint_activations
    from tinygrad_llm.layers.gated_attention import GatedAttention
    from tinygrad_llm.layers.gated_delta_net import GatedDeltaNet
    from tinygrad_llm.layers.kv_cache import KVCache, LayerCache
    from tinygrad_llm.layers.latent_attention import MultiHeadLatentAttention
    from tinygrad_llm.layers.layer_pattern import expect_layer_pattern, window_of_layer
    from tinygrad_llm.layers.memory_cache import DecoderCache, MemoryCache
    from tinygrad_llm.layers.mixture_of_experts import MixtureOfExperts
    from tinygrad_llm.layers.rms_norm import HeadsRMSNorm, RMSNorm
    from tinygrad_llm.layers.rotary import RotaryPositions, rotary_frequencies
    from tinygrad_llm.layers.sequential import Sequential
    from tinygrad_llm.layers.sinusoidal_positions import SinusoidalPositions, sinusoidal_positions
    from tinygrad_llm.layers.softcap import SoftcappedHead
    from tinygrad_llm.layers.window import within_window
    from tinygrad_llm.layers.window_cache import WindowCache
    from tinygrad_llm.nn import conversion as conversion
    from tinygrad_llm.nn import functional
    from tinygrad_llm.nn import hooks as hooks
    from tinygrad_llm.nn import loading as loading

__getattr__, __dir__ = lazy_imports(__name__)

__all__ = ["GELU", "Buffer", "DecoderCache", "Dropout", "Embedding", "FeedForward", "GatedAttention", "GatedDeltaNet"]
__all__ += ["HeadsRMSNorm", "KVCache", "LayerCache", "LayerNorm", "Linear", "MemoryCache", "MixtureOfExperts", "Module"]
__all__ += ["ModuleList", "MultiHeadAttention", "MultiHeadLatentAttention", "Parameter", "RMSNorm", "ReLU"]
__all__ += [
    "RotaryPositions",
    "Sequential",
    "SiLU",
    "SinusoidalPositions",
    "SoftcappedHead",
    "TransformerBlock",
    "WindowCache",
]
__all__ += ["checkpoint", "checkpoint_activations"]
__all__ += [
    "draw_dropout_from",
    "expect_layer_pattern",
    "functional",
    "init",
    "rotary_frequencies",
    "sinusoidal_positions",
    "window_of_layer",
    "within_window",
]
