"""Layers beyond what training a GPT needs, one idea per file. `tinygrad_llm.nn` offers them by name."""

from typing import TYPE_CHECKING

from tinygrad_llm.lazy import lazy_imports

if TYPE_CHECKING:
    from tinygrad_llm.layers.activation import ReLU, SiLU
    from tinygrad_llm.layers.checkpoint import checkpoint, checkpoint_activations
    from tinygrad_llm.layers.gated_attention import GatedAttention
    from tinygrad_llm.layers.gated_delta_net import GatedDeltaNet, StateCache
    from tinygrad_llm.layers.kv_cache import KVCache, LayerCache
    from tinygrad_llm.layers.latent_attention import MultiHeadLatentAttention
    from tinygrad_llm.layers.layer_pattern import expect_layer_pattern, is_of_first_kind, window_of_layer
    from tinygrad_llm.layers.memory_cache import DecoderCache, MemoryCache
    from tinygrad_llm.layers.mixture_of_experts import MixtureOfExperts
    from tinygrad_llm.layers.rms_norm import HeadsRMSNorm, RMSNorm
    from tinygrad_llm.layers.rotary import RotaryPositions, rotary_frequencies
    from tinygrad_llm.layers.row_caches import LayerRows, RowCaches
    from tinygrad_llm.layers.sequential import Sequential
    from tinygrad_llm.layers.sinusoidal_positions import SinusoidalPositions, sinusoidal_positions
    from tinygrad_llm.layers.softcap import SoftcappedHead
    from tinygrad_llm.layers.window import within_window
    from tinygrad_llm.layers.window_cache import WindowCache, tokens_held

__getattr__, __dir__ = lazy_imports(__name__)

__all__ = [
    "DecoderCache",
    "GatedAttention",
    "GatedDeltaNet",
    "HeadsRMSNorm",
    "KVCache",
    "LayerCache",
    "LayerRows",
    "MemoryCache",
    "MixtureOfExperts",
    "StateCache",
]
__all__ += ["MultiHeadLatentAttention", "RMSNorm", "ReLU", "RotaryPositions", "RowCaches", "Sequential", "SiLU"]
__all__ += ["SinusoidalPositions", "SoftcappedHead", "WindowCache", "checkpoint", "checkpoint_activations"]
__all__ += ["expect_layer_pattern", "is_of_first_kind", "window_of_layer"]
__all__ += ["rotary_frequencies", "sinusoidal_positions", "tokens_held", "within_window"]
