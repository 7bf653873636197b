"""Layers: modules with parameters, the one attention core, and the block that Transformers stack."""

from tinygrad_llm.nn import functional, init
from tinygrad_llm.nn.activation import GELU, ReLU, SiLU
from tinygrad_llm.nn.attention import MultiHeadAttention
from tinygrad_llm.nn.cache import DecoderCache, KVCache, LayerCache, MemoryCache, WindowCache
from tinygrad_llm.nn.checkpoint import checkpoint
from tinygrad_llm.nn.dropout import Dropout, draw_dropout_from
from tinygrad_llm.nn.embedding import Embedding
from tinygrad_llm.nn.feed_forward import FeedForward
from tinygrad_llm.nn.latent_attention import MultiHeadLatentAttention
from tinygrad_llm.nn.linear import Linear
from tinygrad_llm.nn.mixture_of_experts import MixtureOfExperts
from tinygrad_llm.nn.module import Buffer, Module, ModuleList, Parameter, Sequential
from tinygrad_llm.nn.normalization import LayerNorm, RMSNorm
from tinygrad_llm.nn.positions import SinusoidalPositions, sinusoidal_positions
from tinygrad_llm.nn.rotary import RotaryPositions, rotary_frequencies
from tinygrad_llm.nn.transformer_block import TransformerBlock, checkpoint_activations

__all__ = [
    "GELU",
    "Buffer",
    "DecoderCache",
    "Dropout",
    "Embedding",
    "FeedForward",
    "KVCache",
    "LayerCache",
    "LayerNorm",
    "Linear",
    "MemoryCache",
    "MixtureOfExperts",
    "Module",
    "ModuleList",
    "MultiHeadAttention",
    "MultiHeadLatentAttention",
    "Parameter",
    "RMSNorm",
    "ReLU",
    "RotaryPositions",
    "Sequential",
    "SiLU",
    "SinusoidalPositions",
    "TransformerBlock",
    "WindowCache",
    "checkpoint",
    "checkpoint_activations",
    "draw_dropout_from",
    "functional",
    "init",
    "rotary_frequencies",
    "sinusoidal_positions",
]
