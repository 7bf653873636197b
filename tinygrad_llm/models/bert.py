"""BERT: a stack of Transformer blocks that reads a whole text and predicts its masked tokens (Devlin et al. 2018).

    mask            none: every token attends to every other
    positions       a learned table
    norm            LayerNorm after each sum
    feed-forward    GELU
    target          the masked tokens

Shape letters as in `language_model`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from tinygrad_llm.checks import expect_ids
from tinygrad_llm.errors import ConfigError, ShapeError
from tinygrad_llm.graph import TensorLike, no_grad
from tinygrad_llm.models.gpt import GPTConfig
from tinygrad_llm.models.pretrained import Pretrained
from tinygrad_llm.nn import (
    GELU,
    Dropout,
    Embedding,
    FeedForward,
    LayerNorm,
    Linear,
    Module,
    ModuleList,
    MultiHeadAttention,
    Parameter,
    TransformerBlock,
)
from tinygrad_llm.nn.init import normal
from tinygrad_llm.ops import cross_entropy, linear
from tinygrad_llm.ops.cross_entropy import IGNORE_INDEX
from tinygrad_llm.settings import Settings, setting, setting_of
from tinygrad_llm.tensor import Tensor


@dataclass(frozen=True)
class BertConfig(Settings):
    """The sizes and options of a BERT; the defaults are BERT-base's.

    `num_segments` is the number of token types: in the paper two, one per sentence. Without `masked_word_head` the
    model has hidden states only. The `pooler` makes one vector of a text; a model with both also has the head that
    predicts from this vector whether the second sentence follows the first. `gelu` is "none", the exact form, or
    "tanh".

    Raises: ConfigError naming the setting that is out of range
    """

    vocab_size: int = setting_of(GPTConfig, "vocab_size", 30522)
    context_length: int = setting_of(GPTConfig, "context_length", 512)
    embedding_dim: int = setting_of(GPTConfig, "embedding_dim", 768)
    num_heads: int = setting_of(GPTConfig, "num_heads", 12)
    num_layers: int = setting_of(GPTConfig, "num_layers", 12)
    dropout: float = setting_of(GPTConfig, "dropout", 0.1)
    num_segments: int = setting(2, "token types (segments)", least=1)
    feed_forward_dim: int | None = setting_of(GPTConfig, "feed_forward_dim", None)
    norm_eps: float = setting_of(GPTConfig, "norm_eps", 1e-12)
    gelu: str = setting_of(GPTConfig, "gelu", "none")
    masked_word_head: bool = setting(True, "give the model a head that predicts masked tokens")
    pooler: bool = setting(False, "give the model a pooler: one vector per text, from its first token")


class MaskedWordHead(Module):
    """Hidden states to the logits of the token at each position: linear layer, GELU, LayerNorm, then a linear layer
    whose weight is the token embedding's `table` (Devlin et al. 2018, arXiv:1810.04805).

    Shapes: x (..., C), table (V, C) -> (..., V)
    """

    def __init__(self, config: BertConfig, table: Parameter) -> None:
        self.transform = Linear(config.embedding_dim, config.embedding_dim)
        self.activation = GELU(config.gelu)
        self.norm = LayerNorm(config.embedding_dim, config.norm_eps)
        self.weight = table
        self.bias = Parameter(np.zeros(config.vocab_size, np.float32))

    def forward(self, x: TensorLike) -> Tensor:
        return linear(self.norm(self.activation(self.transform(x))), self.weight, self.bias)


class Bert(Pretrained):
    """Token ids to the logits of the token at each position (Devlin et al. 2018, arXiv:1810.04805).

    Initial weights are normal with standard deviation 0.02, biases 0.

    Shapes: ids (B, T) or (T,) integers, T at most context_length; segments (B, T) or (T,), the type of each token, 0
            unless given; mask as in `scaled_dot_product_attention` -> logits (B, T, V)
    """

    config_class = BertConfig

    def __init__(self, config: BertConfig) -> None:
        self.config, width = config, config.embedding_dim
        self.token_embedding = Embedding(config.vocab_size, width)
        self.position_embedding = Embedding(config.context_length, width)
        self.segment_embedding = Embedding(config.num_segments, width)
        self.embedding_norm = self._norm()
        self.dropout = Dropout(config.dropout)
        self.blocks = ModuleList(self._block() for _ in range(config.num_layers))
        self.pooler = Linear(width, width) if config.pooler else None
        self.head: Any = MaskedWordHead(config, self.token_embedding.weight) if config.masked_word_head else None
        self.next_sentence = Linear(width, 2) if config.pooler and config.masked_word_head else None
        for name, parameter in self.named_parameters():
            if name.endswith("bias"):
                parameter.data = np.zeros_like(parameter.data)
            elif parameter.ndim == 2:
                parameter.data = normal(parameter.shape, 0.02)

    def _block(self) -> TransformerBlock:
        config, width = self.config, self.config.embedding_dim
        return TransformerBlock(
            attention=MultiHeadAttention(width, config.num_heads, config.dropout, causal=False, qkv_bias=True),
            feed_forward=FeedForward(width, config.feed_forward_dim, GELU(config.gelu)),
            norm=self._norm,
            dropout=config.dropout,
            norm_first=False,
        )

    def _norm(self) -> LayerNorm:
        return LayerNorm(self.config.embedding_dim, self.config.norm_eps)

    def forward(self, ids: Any, segments: Any = None, mask: TensorLike | None = None) -> Tensor:
        """The logits of the token at each position; the arguments as in `hidden`. Shapes: ids (B, T) -> (B, T, V)"""
        return self._expect_head()(self.hidden(ids, segments, mask))

    def hidden(self, ids: Any, segments: Any = None, mask: TensorLike | None = None) -> Tensor:
        """The output of the last block, which the heads read.

        Shapes: ids (B, T), segments (B, T) or (T,), mask broadcasting to (B, H, T, T) -> (B, T, C)
        Raises: ShapeError for ids of another rank, or more tokens than the context length
        """
        ids = ids.data if isinstance(ids, Tensor) else np.asarray(ids)
        if ids.ndim not in (1, 2) or ids.shape[-1] > self.config.context_length:
            raise ShapeError(
                f"Bert: ids must be (B, T) or (T,) with T at most context_length {self.config.context_length}; "
                f"got {ids.shape}"
            )
        segments = np.zeros(ids.shape[-1:], np.int64) if segments is None else segments
        x = self.token_embedding(ids) + self.position_embedding(np.arange(ids.shape[-1]))
        x = self.dropout(self.embedding_norm(x + self.segment_embedding(segments)))
        for block in self.blocks:
            x = block(x, mask=mask)
        return x

    def pooled(self, hidden: Tensor) -> Tensor:
        """One vector for each text, computed from its first token. Shapes: hidden (B, T, C) -> (B, C)

        Raises: ConfigError if the model has no pooler
        """
        if self.pooler is None:
            raise ConfigError("Bert.pooled: this model has no pooler; make it with pooler=True")
        return self.pooler(hidden[..., 0, :]).tanh()

    def begin_with_frequencies(self, ids: Any) -> None:
        """Set the head's bias to the log of each token's frequency in `ids`, every count increased by 1.

        These are the best logits that do not depend on the context. Without this initialisation, a small model spends
        hundreds of steps on learning the frequencies.

        Shapes: ids (...) integers in [0, V)
        """
        head = self._expect_head()
        size = self.config.vocab_size
        counts = np.bincount(expect_ids("Bert", ids, size).reshape(-1), minlength=size) + 1
        with no_grad():
            head.bias[...] = np.log(counts / counts.sum())

    def loss(self, ids: Any, targets: Any) -> Tensor:
        """The mean cross-entropy of the masked tokens; `targets` are -100 elsewhere. Units: nats per masked token.

        Shapes: ids, targets (B, T) -> ()
        """
        targets = np.asarray(targets)
        hidden = self.hidden(ids)
        if targets.shape != hidden.shape[:-1]:
            raise ShapeError(f"Bert.loss: targets must be {hidden.shape[:-1]} to match ids; got {targets.shape}")
        masked = np.nonzero(targets != IGNORE_INDEX)  # few positions need the head, which is most of the cost
        return cross_entropy(self._expect_head()(hidden[masked]), targets[masked])

    def _expect_head(self) -> MaskedWordHead:
        if self.head is None:
            raise ConfigError("Bert: this model has no masked-word head; make it with masked_word_head=True")
        head: MaskedWordHead = self.head
        return head
