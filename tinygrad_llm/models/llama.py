"""The Llama family: GPT's blocks with other parts (Touvron et al. 2023, arXiv:2302.13971; Grattafiori et al. 2024).

    positions      turned into queries and keys (RoPE), instead of a learned table
    norm           RMSNorm instead of LayerNorm
    feed-forward   gated by SiLU (SwiGLU) instead of GELU
    keys           shared by groups of queries; no biases

Mistral adds a window, Mixtral experts, Qwen2 biases, Qwen3 norms of queries and keys, Gemma scaled embeddings and norms
around one: each is a setting here. Shape letters as in `language_model`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from tinygrad_llm.models.config import ModelConfig
from tinygrad_llm.models.language_model import LanguageModel
from tinygrad_llm.models.llama_huggingface import read_llama, write_llama
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
from tinygrad_llm.settings import setting
from tinygrad_llm.tensor import Array, Tensor

ACTIVATIONS: dict[str, Callable[[], Module]] = {"silu": SiLU, "gelu": GELU, "gelu_tanh": lambda: GELU("tanh")}


@dataclass(frozen=True)
class LlamaConfig(ModelConfig):
    """The shape of a Llama; the defaults have the width and depth of Llama 2's smallest. Sizes are counts, at least 1.

    Settings of the same name are as in `GPTConfig`, and `rope_base` and `rope_scaling` as in `rotary_frequencies`.

    Raises: ConfigError naming the setting that does not fit
    """

    vocab_size: int = setting(32000, "tokens in the vocabulary", least=1)
    context_length: int = setting(4096, "maximum sequence length, in tokens", least=1)
    embedding_dim: int = setting(
        4096,
        "embedding size (width of the residual stream); a multiple of the number of heads",
        least=1,
        multiple_of="num_heads",
        unless="head_dim",
    )
    num_heads: int = setting(32, "attention heads per layer", least=1)
    num_layers: int = setting(32, "transformer blocks", least=1)
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
    dropout: float = setting(
        0.0, "dropout: probability that an activation is set to 0 in training", least=0, below=1, noun="probability"
    )
    norm_eps: float = setting(1e-5, "epsilon: what normalisation adds to the mean square", above=0, below=1)
    rope_base: float = setting(
        10000.0, "base of the rotary frequencies (theta); larger: slower rotation", above=0, metavar="X"
    )
    rope_scaling: Mapping[str, float] | None = None
    activation: str = setting("silu", "activation of the gated feed-forward layers", choices=tuple(ACTIVATIONS))
    tie_weights: bool = setting(False, "weight tying: the output head shares the token embedding's matrix")
    qkv_bias: bool = setting(False, "add a bias to queries, keys and values")
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
    experts_per_token: int = setting(2, "experts that process each token", least=1)
    balance: float = setting(0.01, "weight of the load-balancing loss over experts", least=0)


class Llama(LanguageModel):
    """Token ids to the logits of each next token; `from_pretrained` also reads Mistral, Mixtral, Qwen2, Qwen3, Gemma.

    Weights start as GPT-2's, see `initialize_as_gpt2`.
    """

    def __init__(self, config: LlamaConfig) -> None:
        self.config = config
        self.token_embedding = Embedding(config.vocab_size, config.embedding_dim)
        self.dropout = Dropout(config.dropout)
        head_dim = config.head_dim or config.embedding_dim // config.num_heads
        rotary = RotaryPositions(head_dim, config.rope_base, config.rope_scaling)
        self.blocks = ModuleList(self._block(head_dim, rotary) for _ in range(config.num_layers))
        self.final_norm = self._norm(config.embedding_dim)
        self.head = Linear(config.embedding_dim, config.vocab_size, bias=False)
        if config.tie_weights:
            self.head.weight = self.token_embedding.weight
        self.initialize_as_gpt2()

    def _block(self, head_dim: int, rotary: RotaryPositions) -> TransformerBlock:
        config = self.config
        attention = MultiHeadAttention(
            config.embedding_dim,
            config.num_heads,
            config.dropout,
            causal=True,
            qkv_bias=config.qkv_bias,
            num_kv_heads=config.num_kv_heads,
            head_dim=head_dim,
            output_bias=config.output_bias,
            rotary=rotary,
            head_norm=(lambda: self._norm(head_dim)) if config.qk_norm else None,
            window=config.window,
        )
        feed_forward: Module = (
            self._feed_forward()
            if config.num_experts is None
            else MixtureOfExperts(
                config.embedding_dim, config.num_experts, config.experts_per_token, self._feed_forward, config.balance
            )
        )
        return TransformerBlock(
            config.embedding_dim,
            config.num_heads,
            config.dropout,
            attention=attention,
            feed_forward=feed_forward,
            norm=lambda: self._norm(config.embedding_dim),
        )

    def _norm(self, width: int) -> RMSNorm:
        return RMSNorm(width, self.config.norm_eps, around_one=self.config.norm_around_one)

    def _feed_forward(self) -> FeedForward:
        config = self.config
        activation = ACTIVATIONS[config.activation]()
        return FeedForward(config.embedding_dim, config.feed_forward_dim, activation, bias=False, gated=True)

    def _embed(self, ids: Array, positions: Any) -> Tensor:
        x = self.token_embedding(ids)
        return self.dropout(x * math.sqrt(self.config.embedding_dim) if self.config.scale_embeddings else x)

    config_class = LlamaConfig
    _read_folder, _write_folder = staticmethod(read_llama), staticmethod(write_llama)
