"""The Llama family: Transformer blocks with other parts than a GPT's.

Touvron et al. 2023, arXiv:2302.13971; Grattafiori et al. 2024, arXiv:2407.21783.

    mask            causal
    positions       rotation of queries and keys (RoPE)
    norm            RMSNorm before each part
    feed-forward    gated by SiLU (SwiGLU)
    heads           keys and values shared by groups of queries; no biases
    target          the text itself, one token later

Mistral adds a window, Mixtral experts, Qwen2 biases, Qwen3 norms of queries and keys, Gemma scaled embeddings and norms
around one, Gemma 2 norms after each part and softcaps, OLMo 2 norms after each part only, Qwen3-Next Gated DeltaNet in
most layers: each is a setting here, as are layers that differ (with and without a window, or experts). Shape letters as
in `language_model`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from tinygrad_llm.arrays import Array
from tinygrad_llm.layers.layer_pattern import expect_layer_pattern, is_of_first_kind, window_of_layer
from tinygrad_llm.models.gpt import GPTConfig
from tinygrad_llm.models.language_model import LanguageModel
from tinygrad_llm.nn import (
    GELU,
    Dropout,
    Embedding,
    FeedForward,
    GatedAttention,
    GatedDeltaNet,
    HeadsRMSNorm,
    Linear,
    MixtureOfExperts,
    Module,
    ModuleList,
    MultiHeadAttention,
    RMSNorm,
    RotaryPositions,
    Sequential,
    SiLU,
    SoftcappedHead,
    TransformerBlock,
)
from tinygrad_llm.settings import Settings, setting, setting_of
from tinygrad_llm.tensor import Tensor

ACTIVATIONS: dict[str, Callable[[], Module]] = {"silu": SiLU, "gelu": GELU, "gelu_tanh": lambda: GELU("tanh")}


@dataclass(frozen=True)
class LlamaConfig(Settings):
    """The sizes and options of a Llama; the defaults have the width and depth of the smallest Llama 2.

    `rope_base` and `rope_scaling` are those of `rotary_frequencies`. Layers that differ are listed by number, from 0:
    `full_attention_layers` attend to all tokens in spite of `window`, `dense_layers` have no experts.

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
    rope_scaling: Mapping[str, Any] | None = None
    activation: str = setting("silu", "activation of the gated feed-forward layers", choices=tuple(ACTIVATIONS))
    tie_weights: bool = setting_of(GPTConfig, "tie_weights", False)
    qkv_bias: bool = setting_of(GPTConfig, "qkv_bias", False)
    output_bias: bool = setting(False, "add a bias to attention's output projection")
    qk_norm: bool = setting(False, "normalise each head's queries and keys, as Qwen3 does")
    window: int | None = setting_of(GPTConfig, "window", None)
    window_pattern: str | None = setting_of(GPTConfig, "window_pattern", None)
    norm_around_one: bool = setting(False, "RMSNorm multiplies by 1 + weight, as Gemma does")
    scale_embeddings: bool = setting(False, "multiply embeddings by the square root of their size, as Gemma does")
    num_experts: int | None = setting(
        None,
        "mixture of experts: feed-forward layers per block, as in Mixtral (default: one, without a router)",
        least=1,
    )
    experts_per_token: int = setting(2, "experts that process each token", least=1, most="num_experts")
    balance: float = setting(0.01, "weight of the load-balancing loss over experts", least=0)
    normalize_gates: bool | None = setting(
        None, "scale the gates of a token's experts to sum to 1 (default: if a token has several)"
    )
    expert_dim: int | None = setting(None, "hidden size of an expert (default: that of a feed-forward layer)", least=1)
    dense_layers: tuple[int, ...] = setting((), "numbers of layers, from 0, that have no experts", least=0)
    full_attention_layers: tuple[int, ...] = setting(
        (), "numbers of layers, from 0, that attend to all tokens in spite of the window, as in Gemma 2", least=0
    )
    window_rope_base: float | None = setting(
        None,
        "base of the rotary frequencies in layers with a window, as in Gemma 3 (default: that of all, and its scaling)",
        above=0,
        metavar="X",
    )
    norm_place: str = setting(
        "before",
        "place of the norms: before attention and feed-forward, after them as in OLMo 2, or both as in Gemma 2",
        choices=("before", "after", "both"),
    )
    joint_qk_norm: bool = setting(False, "normalise queries and keys over all heads together, as OLMo 2 does")
    query_pre_attention_scalar: float | None = setting(
        None, "attention scores are divided by the square root of this (default: the size of a head)", above=0
    )
    attention_softcap: float | None = setting(
        None, "bound attention scores smoothly by this number, as Gemma 2 does (default: no bound)", above=0
    )
    logit_softcap: float | None = setting(
        None, "bound logits smoothly by this number, as Gemma 2 does (default: no bound)", above=0
    )
    delta_net_pattern: str | None = setting(
        None,
        "layers of Gated DeltaNet:layers of attention, repeated, as 3:1 in Qwen3-Next; 1:0: no attention at all",
    )
    attention_gate: bool = setting(False, "gate what attention found, feature by feature, as Qwen3-Next does")

    def __post_init__(self) -> None:
        super().__post_init__()
        for name, count in (("full_attention_layers", "num_layers"), ("dense_layers", "num_layers")):
            if any(layer >= getattr(self, count) for layer in getattr(self, name)):
                raise self.refusal(f"{{{name}}} must be numbers of layers, below {{{count}}}", f"{getattr(self, name)}")
        for name, needed in (
            ("full_attention_layers", "window"),
            ("window_rope_base", "window"),
            ("dense_layers", "num_experts"),
            ("expert_dim", "num_experts"),
        ):
            if getattr(self, name) and getattr(self, needed) is None:
                raise self.refusal(f"{{{name}}} needs {{{needed}}}", f"{getattr(self, name)} without it")
        if (size := self.head_dim or self.embedding_dim // self.num_heads) % 2:
            name = "{head_dim}" if self.head_dim else "{embedding_dim} / {num_heads}"
            raise self.refusal(f"{name} must be even, since rotary positions rotate pairs of features", f"{size}")
        if self.window_pattern is not None:
            expect_layer_pattern(self, "window_pattern", needs="window")
        if self.delta_net_pattern is not None:
            expect_layer_pattern(self, "delta_net_pattern")
        for one, other in (("qk_norm", "joint_qk_norm"), ("window_pattern", "full_attention_layers")):
            if getattr(self, one) and getattr(self, other):
                raise self.refusal(f"{{{one}}} and {{{other}}} exclude each other", "both")

    def window_of(self, layer: int) -> int | None:
        """The window of a layer, from 0; None where it attends to all tokens."""
        return None if layer in self.full_attention_layers else window_of_layer(self, layer)

    def has_state(self, layer: int) -> bool:
        """Whether a layer, from 0, is a Gated DeltaNet, with a state of fixed size in place of a cache."""
        return self.delta_net_pattern is not None and is_of_first_kind(self.delta_net_pattern, layer)

    def experts_of(self, layer: int) -> int | None:
        """The number of experts in a layer, from 0; None where it is dense."""
        return None if layer in self.dense_layers else self.num_experts


class Llama(LanguageModel):
    """Token ids to the logits of each next token; `from_pretrained` also reads Mistral, Mixtral, Qwen2, Qwen3 (also
    with experts), Gemma 1 to 3, OLMo 2 and 3 (Touvron et al. 2023, arXiv:2302.13971).

    Initial weights as GPT-2's; see `initialize_as_gpt2`.

    Shapes: ids (B, T) or (T,) integers, T at most context_length -> logits (B, T, V) or (T, V)
    """

    config_class = LlamaConfig

    def __init__(self, config: LlamaConfig) -> None:
        self.config = config
        self.token_embedding = Embedding(config.vocab_size, config.embedding_dim)
        self.dropout = Dropout(config.dropout)
        head_dim = config.head_dim or config.embedding_dim // config.num_heads
        everywhere = RotaryPositions(head_dim, config.rope_base, config.rope_scaling)
        base = config.window_rope_base
        in_windows = everywhere if base is None else RotaryPositions(head_dim, base)
        self.blocks = ModuleList(
            self._block(layer, everywhere if config.window_of(layer) is None else in_windows)
            for layer in range(config.num_layers)
        )
        self.final_norm = self._norm()
        head = Linear(config.embedding_dim, config.vocab_size, bias=False)
        if config.tie_weights:
            head.weight = self.token_embedding.weight
        self.head = head if config.logit_softcap is None else SoftcappedHead(head, config.logit_softcap)
        self.initialize_as_gpt2()

    def _block(self, layer: int, rotary: RotaryPositions) -> TransformerBlock:
        config, experts = self.config, self.config.experts_of(layer)
        return TransformerBlock(
            attention=self._delta_net(rotary.head_dim) if config.has_state(layer) else self._attention(layer, rotary),
            feed_forward=self._feed_forward(config.feed_forward_dim) if experts is None else self._experts(experts),
            norm=Sequential if config.norm_place == "after" else self._norm,  # an empty Sequential changes nothing
            dropout=config.dropout,
            norm_first=True,
            norm_after=None if config.norm_place == "before" else self._norm,
        )

    def _attention(self, layer: int, rotary: RotaryPositions) -> MultiHeadAttention:
        config, scale = self.config, self.config.query_pre_attention_scalar
        return (GatedAttention if config.attention_gate else MultiHeadAttention)(
            config.embedding_dim,
            config.num_heads,
            config.dropout,
            causal=True,
            qkv_bias=config.qkv_bias,
            num_kv_heads=config.num_kv_heads,
            head_dim=rotary.head_dim,
            output_bias=config.output_bias,
            rotary=rotary,
            head_norm=self._head_norms(rotary.head_dim),
            window=config.window_of(layer),
            scale=None if scale is None else scale**-0.5,
            softcap=config.attention_softcap,
        )

    def _delta_net(self, head_dim: int) -> GatedDeltaNet:
        config = self.config
        return GatedDeltaNet(config.embedding_dim, config.num_heads, head_dim=head_dim, norm_eps=config.norm_eps)

    def initialize_as_gpt2(self) -> None:
        """As `LanguageModel.initialize_as_gpt2`; convolutions and decays of a Gated DeltaNet keep their own values."""
        super().initialize_as_gpt2()
        for block in self.blocks:
            if isinstance(block.attention, GatedDeltaNet):
                block.attention.initialize_memory()

    def _head_norms(self, head_dim: int) -> Callable[[], Module] | None:
        """Makes the norm of the queries when it is called first, that of the keys when it is called next."""
        config = self.config
        if config.joint_qk_norm:
            heads = iter((config.num_heads, config.num_kv_heads or config.num_heads))
            return lambda: HeadsRMSNorm(next(heads) * head_dim, config.norm_eps, around_one=config.norm_around_one)
        return (lambda: self._norm(head_dim)) if config.qk_norm else None

    def _norm(self, width: int | None = None) -> RMSNorm:
        config = self.config
        return RMSNorm(width or config.embedding_dim, config.norm_eps, around_one=config.norm_around_one)

    def _feed_forward(self, hidden_dim: int | None) -> FeedForward:
        activation = ACTIVATIONS[self.config.activation]()
        return FeedForward(self.config.embedding_dim, hidden_dim, activation, bias=False, gated=True)

    def _experts(self, count: int) -> MixtureOfExperts:
        config = self.config
        return MixtureOfExperts(
            config.embedding_dim,
            count,
            config.experts_per_token,
            lambda: self._feed_forward(config.expert_dim or config.feed_forward_dim),
            config.balance,
            normalize_gates=config.normalize_gates,
        )

    def _embed(self, ids: Array, positions: Any) -> Tensor:
        x = self.token_embedding(ids)
        return self.dropout(x * math.sqrt(self.config.embedding_dim) if self.config.scale_embeddings else x)
