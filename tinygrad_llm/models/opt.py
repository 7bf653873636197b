"""OPT: Meta's open counterpart of GPT-3 (Zhang et al. 2022, arXiv:2205.01068).

    mask            causal
    positions       a learned table, in which position 0 is row 2
    norm            LayerNorm before each part
    feed-forward    ReLU
    head            the token embedding's matrix (tied)
    target          the text itself, one token later

Every linear layer but the head has a bias. Shape letters as in `language_model`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from tinygrad_llm.arrays import Array
from tinygrad_llm.models.gpt import GPTConfig
from tinygrad_llm.models.language_model import LanguageModel
from tinygrad_llm.models.presets import PRESETS as GPT_PRESETS
from tinygrad_llm.nn import (
    Embedding,
    FeedForward,
    LayerNorm,
    Linear,
    ModuleList,
    MultiHeadAttention,
    ReLU,
    TransformerBlock,
)
from tinygrad_llm.settings import Settings, setting_of
from tinygrad_llm.tensor import Tensor

# Rows of the position table before that of position 0: fairseq numbers positions after the id of padding, 1.
POSITION_OFFSET = 2

PRESETS: dict[str, dict[str, Any]] = {
    "opt-125m": {},
    "opt-1.3b": {"embedding_dim": 2048, "num_layers": 24, "num_heads": 32},
    "opt-2.7b": {"embedding_dim": 2560, "num_layers": 32, "num_heads": 32},
    "opt-6.7b": {"embedding_dim": 4096, "num_layers": 32, "num_heads": 32},
    **{name: GPT_PRESETS[name] for name in ("nano", "tiny", "micro", "mini")},
}


@dataclass(frozen=True)
class OPTConfig(Settings):
    """The sizes and options of an OPT; the defaults are those of OPT-125M.

    Raises: ConfigError naming the setting that is out of range
    """

    vocab_size: int = setting_of(GPTConfig, "vocab_size", 50272)
    context_length: int = setting_of(GPTConfig, "context_length", 2048)
    embedding_dim: int = setting_of(GPTConfig, "embedding_dim", 768)
    num_heads: int = setting_of(GPTConfig, "num_heads", 12)
    num_layers: int = setting_of(GPTConfig, "num_layers", 12)
    dropout: float = setting_of(GPTConfig, "dropout", 0.1)
    attention_dropout: float = setting_of(
        GPTConfig,
        "dropout",
        0.0,
        help="dropout of attention: probability that an attention weight is set to 0 in training",
    )
    tie_weights: bool = setting_of(GPTConfig, "tie_weights", True)
    feed_forward_dim: int | None = setting_of(GPTConfig, "feed_forward_dim", None)


class OPT(LanguageModel):
    """Token ids to the logits of each next token (Zhang et al. 2022, arXiv:2205.01068).

    Initial weights as GPT-2's; see `initialize_as_gpt2`.

    Shapes: ids (B, T) or (T,) integers, T at most context_length -> logits (B, T, V) or (T, V)
    """

    config_class = OPTConfig

    def __init__(self, config: OPTConfig) -> None:
        self.config = config
        self.token_embedding = Embedding(config.vocab_size, config.embedding_dim)
        self.position_embedding = Embedding(config.context_length + POSITION_OFFSET, config.embedding_dim)
        self.blocks = ModuleList(self._block() for _ in range(config.num_layers))
        self.final_norm = LayerNorm(config.embedding_dim)
        self.head = Linear(config.embedding_dim, config.vocab_size, bias=False)
        if config.tie_weights:
            self.head.weight = self.token_embedding.weight
        self.initialize_as_gpt2()

    def _block(self) -> TransformerBlock:
        config, width = self.config, self.config.embedding_dim
        return TransformerBlock(
            attention=MultiHeadAttention(width, config.num_heads, config.attention_dropout, causal=True, qkv_bias=True),
            feed_forward=FeedForward(width, config.feed_forward_dim, ReLU()),
            norm=lambda: LayerNorm(width),
            dropout=config.dropout,
            norm_first=True,
        )

    def _embed(self, ids: Array, positions: Any) -> Tensor:
        return self.token_embedding(ids) + self.position_embedding(np.asarray(positions) + POSITION_OFFSET)
