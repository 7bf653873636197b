"""BERT: a stack of Transformer blocks that see the whole text, and fill in its hidden words (Devlin et al. 2018).

Shape letters as in `gpt`.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any

import numpy as np

from tinygrad_llm.checks import expect_ids
from tinygrad_llm.errors import ConfigError, FormatError, ShapeError
from tinygrad_llm.models.bert_huggingface import read_bert, write_bert
from tinygrad_llm.models.config import ModelConfig
from tinygrad_llm.nn import (
    GELU,
    Dropout,
    Embedding,
    LayerNorm,
    Linear,
    Module,
    ModuleList,
    Parameter,
    TransformerBlock,
)
from tinygrad_llm.nn.init import no_initial_values, normal
from tinygrad_llm.ops import cross_entropy, linear
from tinygrad_llm.ops.cross_entropy import IGNORE_INDEX
from tinygrad_llm.settings import setting
from tinygrad_llm.tensor import Tensor, TensorLike
from tinygrad_llm.text import Tokenizer


@dataclass(frozen=True)
class BertConfig(ModelConfig):
    """The shape of a BERT; the defaults are BERT-base's.

    `num_segments` is how many kinds of token type there are: the paper's two sentences. Without `masked_word_head` the
    model gives hidden states only; the `pooler` makes one vector of a text, and where both are there, the head that
    guesses whether the second sentence follows the first reads it. `gelu` is "none", the exact form, or "tanh".
    """

    vocab_size: int = setting(30522, "tokens in the vocabulary", least=1)
    context_length: int = setting(512, "maximum sequence length, in tokens", least=1)
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
    num_segments: int = setting(2, "token types (segments)", least=1)
    feed_forward_dim: int | None = setting(
        None, "hidden size of the feed-forward layers (default: 4 times the embedding size)", least=1
    )
    norm_eps: float = setting(1e-12, "epsilon: what normalisation adds to the variance", above=0, below=1)
    gelu: str = setting(
        "none", "form of GELU: tanh, GPT-2's approximation, or none, the exact one", choices=("tanh", "none")
    )
    masked_word_head: bool = setting(True, "give the model a head that predicts masked tokens")
    pooler: bool = setting(False, "give the model a pooler: one vector per text, from its first token")


class MaskedWordHead(Module):
    """Hidden states to the logits of the word at each place: dense, GELU, norm, then the embedding's own table.

    Shapes: (..., C) -> (..., V)
    """

    def __init__(self, config: BertConfig, table: Parameter) -> None:
        self.transform = Linear(config.embedding_dim, config.embedding_dim)
        self.activation = GELU(config.gelu)
        self.norm = LayerNorm(config.embedding_dim, config.norm_eps)
        self.weight = table
        self.bias = Parameter(np.zeros(config.vocab_size, np.float32))

    def forward(self, x: TensorLike) -> Tensor:
        return linear(self.norm(self.activation(self.transform(x))), self.weight, self.bias)


class Bert(Module):
    """Token ids to the logits of the word at each place (Devlin et al. 2018, arXiv:1810.04805).

    Every token sees every other: GPT's blocks without the mask, normalised after each sum. Weights start normal with
    standard deviation 0.02, biases 0.

    Shapes: ids (B, T) integers, T at most context_length; segments (B, T) or (T,), the kind of each token, 0 for all
            unless given; mask as in `scaled_dot_product_attention` -> logits (B, T, V)
    """

    def __init__(self, config: BertConfig) -> None:
        self.config, width = config, config.embedding_dim
        self.token_embedding = Embedding(config.vocab_size, width)
        self.position_embedding = Embedding(config.context_length, width)
        self.segment_embedding = Embedding(config.num_segments, width)
        self.embedding_norm = LayerNorm(width, config.norm_eps)
        self.dropout = Dropout(config.dropout)
        self.blocks = ModuleList(
            TransformerBlock(
                width,
                config.num_heads,
                config.dropout,
                causal=False,
                qkv_bias=True,
                feed_forward_dim=config.feed_forward_dim,
                norm_eps=config.norm_eps,
                gelu=config.gelu,
                norm_first=False,
            )
            for _ in range(config.num_layers)
        )
        self.pooler = Linear(width, width) if config.pooler else None
        self.head: Any = MaskedWordHead(config, self.token_embedding.weight) if config.masked_word_head else None
        self.next_sentence = Linear(width, 2) if config.pooler and config.masked_word_head else None
        for name, parameter in self.named_parameters():
            if name.endswith("bias"):
                parameter.data[...] = 0
            elif parameter.ndim == 2:
                parameter.data = normal(parameter.shape, 0.02)

    def forward(self, ids: Any, segments: Any = None, mask: TensorLike | None = None) -> Tensor:
        return self._expect_head()(self.hidden(ids, segments, mask))

    def hidden(self, ids: Any, segments: Any = None, mask: TensorLike | None = None) -> Tensor:
        """What the heads read: the output of the last block. Shapes: (B, T) -> (B, T, C)"""
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
        """One vector for each text, made of its first token. Shapes: (B, T, C) -> (B, C)"""
        if self.pooler is None:
            raise ConfigError("Bert.pooled: this model has no pooler; make it with pooler=True")
        return self.pooler(hidden[..., 0, :]).tanh()

    def begin_with_frequencies(self, ids: Any) -> None:
        """Let the head guess from how often each token is in `ids` before it has learned anything: log of its share,
        each token counted once more than it is there.

        What is learned after that is what the context says. Without it a small model spends its first hundreds of
        steps on finding the frequencies through all its layers.
        """
        head = self._expect_head()
        size = self.config.vocab_size
        counts = np.bincount(expect_ids("Bert", ids, size).reshape(-1), minlength=size) + 1
        head.bias.data[...] = np.log(counts / counts.sum())

    def loss(self, ids: Any, targets: Any) -> Tensor:
        """The mean cross-entropy of the hidden words, nats each: `targets` (B, T) hold -100 where none is hidden."""
        targets = np.asarray(targets)
        hidden = self.hidden(ids)
        if targets.shape != hidden.shape[:-1]:
            raise ShapeError(f"Bert.loss: targets must be {hidden.shape[:-1]} to match ids; got {targets.shape}")
        places = np.nonzero(targets != IGNORE_INDEX)  # the head is the costly part, and few places need it
        return cross_entropy(self._expect_head()(hidden[places]), targets[places])

    def _expect_head(self) -> MaskedWordHead:
        if self.head is None:
            raise ConfigError("Bert: this model has no masked-word head; make it with masked_word_head=True")
        head: MaskedWordHead = self.head
        return head

    # -- Hugging Face folders

    @classmethod
    def from_pretrained(cls, folder: str | os.PathLike[str], dropout: float | None = None) -> Bert:
        """The BERT in a Hugging Face folder of BertModel, BertForMaskedLM or BertForPreTraining, in evaluation mode.

        Weights of 64 bits make a float64 model, all others a float32 one, exactly. `dropout` replaces what config.json
        says, which has two numbers where this model has one.

        Raises: FormatError, naming the file, for one that is missing or damaged, or asks for what this model is not
        """
        settings, state = read_bert(folder, dropout)
        try:
            with no_initial_values():
                model = cls(BertConfig.from_dict(settings))
        except ConfigError as error:
            raise FormatError(f"{os.fspath(folder)}: config.json does not fit a Bert: {error}") from None
        model.to(np.result_type(*state.values()))
        model.load_state_dict(state)
        return model.eval()

    def save_pretrained(self, folder: str | os.PathLike[str], tokenizer: Tokenizer | None = None) -> None:
        """Write config.json, model.safetensors and the tokenizer's files, which transformers opens as a BERT.

        Raises: StateDictError where layers were added or replaced, TokenizerError for a tokenizer that Hugging Face's
                files cannot hold, ConfigError where it has more tokens than the model, CheckpointError where the folder
                holds something else or cannot be written
        """
        write_bert(folder, self.config.to_dict(), self.state_dict(), tokenizer)
