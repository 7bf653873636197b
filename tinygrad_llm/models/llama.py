"""The Llama family: Transformer blocks with other parts than a GPT's.

Touvron et al. 2023, arXiv:2302.13971; Grattafiori et al. 2024, arXiv:2407.21783.

    mask            causal
    positions       rotation of queries and keys (RoPE)
    norm            RMSNorm before each part
    feed-forward    gated by SiLU (SwiGLU)
    heads           keys and values shared by groups of queries; no biases
    target          the text itself, one token later

Mistral adds a window, Mixtral experts, Qwen2 biases, Qwen3 norms of queries and keys, Gemma scaled embeddings and norms
around one: each is a setting here. Shape letters as in `language_model`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from tinygrad_llm.arrays import Array
from tinygrad_llm.models.gpt import GPTConfig
from tinygrad_llm.models.language_model import LanguageModel
from tinygrad_llm.nn import (
    GELU,
    Dropout,
    Embedding,
    FeedForward,
    Linear,
    MixtureOfExperts,
    Module,
    ModuleList,
    MultiHeadAttention,
    RMSNorm,
    RotaryPositions,
    SiLU,
    TransformerBlock,
)
from tinygrad_llm.settings import Settings, setting, setting_of
from tinygrad_llm.tensor import Tensor

ACTIVATIONS: dict[str, Callable[[], Module]] = {"silu": SiLU, "gelu": GELU, "gelu_tanh": lambda: GELU("tanh")}


@dataclass(frozen=True)
class LlamaConfig(Settings):
    """The sizes and options of a Llama; the defaults have the width and depth of the smallest Llama 2.

    `rope_base` and `rope_scaling` are those of `rotary_frequencies`.

    Raises: ConfigError naming the setting that is out of range
    """

    vocab_size: int = setting_of(GPTConfig, "vocab_size", 32000)
    context_length: int = setting_of(GPTConfig, "context_length", 4096)
    embedding_dim: int = setting_of(GPTConfig, "embedding_dim", 4096, unless="head_dim")
    num_heads: int = setting_of(GPTConfig, "num_heads", 32, multiple_of="num_kv_heads")
    num_layers: int = setting_of(GPTConfig, "num_layers", 32)
    num_kv_heads: int | None = setting(
        None, "heads of keys and values, each shared by a group of query heads (default: one per query head)", least=1
    )
    head_dim: int | None = setting(
        None, "size of a head (default: the embedding size divided by the number of heads)", least=1
    )
    feed_forward_dim: int | None = setting(
        None,
        "hidden size of the feed-forward layers (default: 8/3 of the embedding size, rounded up to a multiple of 8)",
        least=1,
    )
    dropout: float = setting_of(GPTConfig, "dropout", 0.0)
    norm_eps: float = setting(1e-5, "epsilon: what normalisation adds to the mean square", above=0, below=1)
    rope_base: float = setting(
        10000.0, "base of the rotary frequencies (theta); larger: slower rotation", above=0, metavar="X"
    )
    rope_scaling: Mapping[str, float] | None = None
    activation: str = setting("silu", "activation of the gated feed-forward layers", choices=tuple(ACTIVATIONS))
    tie_weights: bool = setting_of(GPTConfig, "tie_weights", False)
    qkv_bias: bool = setting_of(GPTConfig, "qkv_bias", False)
    output_bias: bool = setting(False, "add a bias to attention's output projection")
    qk_norm: bool = setting(False, "normalise each head's queries and keys, as Qwen3 does")
    window: int | None = setting(
        None,
        "sliding-window attention: each token attends to the last N tokens, as in Mistral (default: to all)",
        least=1,
    )
    norm_around_one: bool = setting(False, "RMSNorm multiplies by 1 + weight, as Gemma does")
    scale_embeddings: bool = setting(False, "multiply embeddings by the square root of their size, as Gemma does")
    num_experts: int | None = setting(
        None,
        "mixture of experts: feed-forward layers per block, as in Mixtral (default: one, without a router)",
        least=1,
    )
    experts_per_token: int = setting(2, "experts that process each token", least=1, most="num_experts")
    balance: float = setting(0.01, "weight of the load-balancing loss over experts", least=0)


class Llama(LanguageModel):
    """Token ids to the logits of each next token; `from_pretrained` also reads Mistral, Mixtral, Qwen2, Qwen3, Gemma
    (Touvron et al. 2023, arXiv:2302.13971).

    Initial weights as GPT-2's; see `initialize_as_gpt2`.

    Shapes: ids (B, T) or (T,) integers, T at most context_length -> logits (B, T, V) or (T, V)
    """

    config_class = LlamaConfig

    def __init__(self, config: LlamaConfig) -> None:
        self.config = config
        self.token_embedding = Embedding(config.vocab_size, config.embedding_dim)
        self.dropout = Dropout(config.dropout)
        head_dim = config.head_dim or config.embedding_dim // config.num_heads
        rotary = RotaryPositions(head_dim, config.rope_base, config.rope_scaling)
        self.blocks = ModuleList(self._block(rotary) for _ in range(config.num_layers))
        self.final_norm = self._norm()
        self.head = Linear(config.embedding_dim, config.vocab_size, bias=False)
        if config.tie_weights:
            self.head.weight = self.token_embedding.weight
        self.initialize_as_gpt2()

    def _block(self, rotary: RotaryPositions) -> TransformerBlock:
        config = self.config
        return TransformerBlock(
            attention=MultiHeadAttention(
                config.embedding_dim,
                config.num_heads,
                config.dropout,
                causal=True,
                qkv_bias=config.qkv_bias,
                num_kv_heads=config.num_kv_heads,
                head_dim=rotary.head_dim,
                output_bias=config.output_bias,
                rotary=rotary,
                head_norm=(lambda: self._norm(rotary.head_dim)) if config.qk_norm else None,
                window=config.window,
            ),
            feed_forward=self._feed_forward() if config.num_experts is None else self._experts(config.num_experts),
            norm=self._norm,
            dropout=config.dropout,
            norm_first=True,
        )

    def _norm(self, width: int | None = None) -> RMSNorm:
        config = self.config
        return RMSNorm(width or config.embedding_dim, config.norm_eps, around_one=config.norm_around_one)

    def _feed_forward(self) -> FeedForward:
        config = self.config
        activation = ACTIVATIONS[config.activation]()
        return FeedForward(config.embedding_dim, config.feed_forward_dim, activation, bias=False, gated=True)

    def _experts(self, count: int) -> MixtureOfExperts:
        config = self.config
        return MixtureOfExperts(
            config.embedding_dim, count, config.experts_per_token, self._feed_forward, config.balance
        )

    def _embed(self, ids: Array, positions: Any) -> Tensor:
        x = self.token_embedding(ids)
        return self.dropout(x * math.sqrt(self.config.embedding_dim) if self.config.scale_embeddings else x)
