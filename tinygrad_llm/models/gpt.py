"""GPT: a stack of causal Transformer blocks that predicts the next token (Radford et al. 2018, 2019).

    mask            causal
    positions       a learned table
    norm            LayerNorm before each part
    feed-forward    GELU
    target          the text itself, one token later

Shape letters as in `language_model`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from tinygrad_llm import models, nn
from tinygrad_llm.arrays import Array
from tinygrad_llm.checks import expect_choice
from tinygrad_llm.models.language_model import LanguageModel
from tinygrad_llm.nn import (
    GELU,
    Dropout,
    Embedding,
    FeedForward,
    LayerNorm,
    Linear,
    ModuleList,
    MultiHeadAttention,
    TransformerBlock,
)
from tinygrad_llm.settings import Settings, setting
from tinygrad_llm.tensor import Tensor


@dataclass(frozen=True)
class GPTConfig(Settings):
    """The sizes and options of a GPT; the defaults are the book's GPT-2 small.

    Raises: ConfigError naming the setting that is out of range
    """

    vocab_size: int = setting(50257, "tokens in the vocabulary", least=1)
    context_length: int = setting(1024, "maximum sequence length, in tokens", least=1)
    embedding_dim: int = setting(
        768,
        "embedding size (width of the residual stream); a multiple of the number of heads",
        least=1,
        multiple_of="num_heads",
    )
    num_heads: int = setting(12, "attention heads per layer", least=1)
    num_layers: int = setting(12, "transformer blocks", least=1)
    dropout: float = setting(
        0.1, "dropout: probability that an activation is set to 0 in training", least=0, below=1, noun="probability"
    )
    qkv_bias: bool = setting(False, "add a bias to queries, keys and values")
    tie_weights: bool = setting(False, "weight tying: the output head shares the token embedding's matrix")
    feed_forward_dim: int | None = setting(
        None, "hidden size of the feed-forward layers (default: 4 times the embedding size)", least=1
    )
    norm_eps: float = setting(1e-5, "epsilon: what normalisation adds to the variance", above=0, below=1)
    gelu: str = setting(
        "tanh", "form of GELU: tanh, GPT-2's approximation, or none, the exact one", choices=("tanh", "none")
    )
    window: int | None = setting(
        None, "sliding window: each token attends to the last N tokens, as in Mistral (default: to all)", least=1
    )
    window_pattern: str | None = setting(
        None, "layers with and without the window, repeated: 5:1 is that of Gemma 3 (default: all with it)"
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.window_pattern is not None:
            nn.expect_layer_pattern(self, "window_pattern", needs="window")

    @classmethod
    def preset(cls, name: str, **changes: Any) -> GPTConfig:
        """The config of a named size, with `changes` to single settings. Raises: ConfigError for an unknown name"""
        return cls.from_dict({**models.presets.preset(name), **changes})


class GPT(LanguageModel):
    """Token ids to the logits of each next token (Radford et al. 2019).

    `init="book"` starts with PyTorch's layer defaults in the book's order of construction, so that a seed gives the
    book's model; `init="gpt2"` starts as GPT-2 does, see `initialize_as_gpt2`.
    With `tie_weights` use "gpt2": PyTorch's embeddings are too large for a head (first losses of 83 to 480, not ln V).

    Shapes: ids (B, T) or (T,) integers, T at most context_length -> logits (B, T, V) or (T, V)
    Raises: ConfigError for another `init`
    """

    config_class = GPTConfig

    def __init__(self, config: GPTConfig, init: str = "book") -> None:
        expect_choice("GPT", "init", init, ("book", "gpt2"))
        self.config = config
        self.token_embedding = Embedding(config.vocab_size, config.embedding_dim)
        self.position_embedding = Embedding(config.context_length, config.embedding_dim)
        self.dropout = Dropout(config.dropout)
        self.blocks = ModuleList(map(self._block, range(config.num_layers)))
        self.final_norm = self._norm()
        self.head = Linear(config.embedding_dim, config.vocab_size, bias=False)
        if config.tie_weights:
            self.head.weight = self.token_embedding.weight
        if init == "gpt2":
            self.initialize_as_gpt2()

    def _block(self, layer: int) -> TransformerBlock:
        config, width = self.config, self.config.embedding_dim
        window = None if config.window is None else nn.window_of_layer(config, layer)
        return TransformerBlock(
            attention=MultiHeadAttention(
                width, config.num_heads, config.dropout, causal=True, qkv_bias=config.qkv_bias, window=window
            ),
            feed_forward=FeedForward(width, config.feed_forward_dim, GELU(config.gelu)),
            norm=self._norm,
            dropout=config.dropout,
            norm_first=True,
        )

    def _norm(self) -> LayerNorm:
        return LayerNorm(self.config.embedding_dim, self.config.norm_eps)

    def _embed(self, ids: Array, positions: Any) -> Tensor:
        return self.dropout(self.token_embedding(ids) + self.position_embedding(positions))
