"""The encoder-decoder Transformer: the encoder reads a source text, the decoder writes a target text, such as its
translation (Vaswani et al. 2017).

    source ids -> encoder -> memory
    target ids, memory -> decoder -> logits of the next target token

    mask            none in the encoder; causal in the decoder, which also attends to the memory
    positions       sinusoidal, added to the embeddings
    norm            LayerNorm after each sum
    feed-forward    ReLU
    target          the target text, one token later

Shape letters as in `language_model`; S tokens in a source, T in a target.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from tinygrad_llm.arrays import Array
from tinygrad_llm.errors import IdRangeError, ShapeError
from tinygrad_llm.graph import TensorLike
from tinygrad_llm.models.gpt import GPTConfig
from tinygrad_llm.nn import (
    DecoderCache,
    Dropout,
    Embedding,
    FeedForward,
    LayerNorm,
    Linear,
    Module,
    ModuleList,
    MultiHeadAttention,
    ReLU,
    SinusoidalPositions,
    TransformerBlock,
)
from tinygrad_llm.nn.init import normal, uniform
from tinygrad_llm.ops.cross_entropy import linear_cross_entropy
from tinygrad_llm.settings import Settings, setting, setting_of
from tinygrad_llm.tensor import Tensor


@dataclass(frozen=True)
class EncoderDecoderConfig(Settings):
    """The sizes and options of an encoder-decoder; the defaults are the paper's base model, with `num_layers` in each
    of the two stacks.

    Source and target share one vocabulary. `label_smoothing` applies to the loss in training only.

    Raises: ConfigError naming the setting that is out of range
    """

    vocab_size: int = setting(37000, "tokens in the shared vocabulary", least=1)
    context_length: int = setting_of(GPTConfig, "context_length", 512)
    embedding_dim: int = setting_of(GPTConfig, "embedding_dim", 512)
    num_heads: int = setting_of(GPTConfig, "num_heads", 8)
    num_layers: int = setting(6, "transformer blocks of the encoder, and of the decoder", least=1)
    feed_forward_dim: int | None = setting_of(GPTConfig, "feed_forward_dim", None)
    dropout: float = setting_of(GPTConfig, "dropout", 0.1)
    label_smoothing: float = setting(
        0.1, "share of each target's probability that is spread over all tokens, in training", least=0, below=1
    )
    norm_eps: float = setting_of(GPTConfig, "norm_eps", 1e-5)


class EncodedSource(NamedTuple):
    """The output of the encoder, and a mask that is True at real tokens and False at padding; None without padding.

    Shapes: states (B, S, C), mask (B, 1, 1, S)
    """

    states: Tensor
    mask: Array | None


class EncoderDecoder(Module):
    """Source ids and the target so far to the logits of each next target token (Vaswani et al. 2017, arXiv:1706.03762).

    One table, scaled by √C, embeds source and target and is the weight of the head (section 3.4). Weights start
    uniform as in Glorot and Bengio (2010), the table normal with standard deviation 1/√C.

    Shapes: source (B, S), target (B, T), source_lengths (B,), the number of real tokens, S unless given
            -> logits (B, T, V)
    """

    def __init__(self, config: EncoderDecoderConfig) -> None:
        self.config = config
        self.token_embedding = Embedding(config.vocab_size, config.embedding_dim)
        self.positions = SinusoidalPositions(config.context_length, config.embedding_dim)
        self.dropout = Dropout(config.dropout)
        self.encoder = ModuleList(self._block(decoder=False) for _ in range(config.num_layers))
        self.decoder = ModuleList(self._block(decoder=True) for _ in range(config.num_layers))
        self.head = Linear(config.embedding_dim, config.vocab_size, bias=False)
        for name, parameter in self.named_parameters():
            if name.endswith("bias"):
                parameter.data = np.zeros_like(parameter.data)
            elif parameter.ndim == 2:
                parameter.data = uniform(math.sqrt(6 / sum(parameter.shape)), parameter.shape)
        self.token_embedding.weight.data = normal(self.token_embedding.weight.shape, config.embedding_dim**-0.5)
        self.head.weight = self.token_embedding.weight

    def _block(self, decoder: bool) -> TransformerBlock:
        config, width = self.config, self.config.embedding_dim
        return TransformerBlock(
            attention=MultiHeadAttention(width, config.num_heads, config.dropout, causal=decoder),
            feed_forward=FeedForward(width, config.feed_forward_dim, ReLU()),
            cross_attention=MultiHeadAttention(width, config.num_heads, config.dropout) if decoder else None,
            norm=lambda: LayerNorm(width, config.norm_eps),
            dropout=config.dropout,
            norm_first=False,
        )

    def forward(self, source: Any, target: Any, source_lengths: Any = None) -> Tensor:
        return self.head(self.decode(target, self.encode(source, source_lengths)))

    def loss(self, source: Any, source_lengths: Any, inputs: Any, targets: Any) -> Tensor:
        """The mean cross-entropy of `targets` given `source` and `inputs`; a target of -100 is not counted. Units: nats
        per target.

        Shapes: source (B, S), source_lengths (B,), inputs, targets (B, T) -> ()
        """
        hidden = self.decode(inputs, self.encode(source, source_lengths))
        smoothing = self.config.label_smoothing if self.training else 0.0
        return linear_cross_entropy(hidden, self.head.weight, targets, label_smoothing=smoothing)

    def encode(self, source: Any, source_lengths: Any = None) -> EncodedSource:
        """The encoder's output for the sources. Shapes: source (B, S), source_lengths (B,) -> states (B, S, C)

        Raises: ShapeError and IdRangeError for lengths that do not fit the source
        """
        source, mask = np.asarray(source), None
        if source_lengths is not None:
            lengths = np.asarray(source_lengths)
            if source.ndim != 2 or lengths.shape != source.shape[:1]:
                raise ShapeError(f"EncoderDecoder: source_lengths must be (B,) for source (B, S); got {lengths.shape}")
            if lengths.size and not 1 <= lengths.min() <= lengths.max() <= source.shape[1]:
                raise IdRangeError(
                    f"EncoderDecoder: source_lengths must be in [1, {source.shape[1]}]; got {lengths.min()} to "
                    f"{lengths.max()}"
                )
            mask = (np.arange(source.shape[1]) < lengths[:, None])[:, None, None, :]
        x = self._embed("source", source, np.arange(source.shape[-1]) if source.ndim else 0)
        for block in self.encoder:
            x = block(x, mask=mask)
        return EncodedSource(x, mask)

    def decode(
        self,
        target: Any,
        memory: EncodedSource,
        cache: DecoderCache | None = None,
        mask: TensorLike | None = None,
        positions: Any = None,
    ) -> Tensor:
        """The input of the head. With a `cache`, `target` continues the tokens that it has read.

        Shapes: target (B, T), positions (T,) or (B, T) -> (B, T, C)
        Raises: ShapeError for a target of another rank, or more tokens than the context length
        """
        target, start = np.asarray(target), 0 if cache is None else cache.length
        if positions is None:
            positions = np.arange(start, start + target.shape[-1] if target.ndim else start)
        x = self._embed("target", target, positions)
        for i, block in enumerate(self.decoder):
            caches = {} if cache is None else {"cache": cache.layers[i], "memory_cache": cache.memories[i]}
            x = block(x, memory.states, memory.mask, mask=mask, **caches)
        return x

    def _embed(self, which: str, ids: Array, positions: Any) -> Tensor:
        longest = self.config.context_length
        if ids.ndim != 2 or ids.shape[1] > longest or np.max(positions, initial=0) >= longest:
            raise ShapeError(
                f"EncoderDecoder: {which} must be (B, T) with T at most context_length {longest}, cached tokens "
                f"included; got {ids.shape}"
            )
        scale = math.sqrt(self.config.embedding_dim)
        return self.dropout(self.positions(self.token_embedding(ids) * scale, positions))

    def conditioned_on(self, source: Any, source_lengths: Any = None) -> Conditioned:
        """The decoder with these sources, for `generate` and `beam_search`: prompt i is continued given source i.

        Shapes: source (B, S) or (1, S) for all prompts, source_lengths (B,)
        """
        return Conditioned(self, np.asarray(source), source_lengths)


class Conditioned:
    """A decoder with fixed sources, which generation uses like any language model."""

    def __init__(
        self, model: EncoderDecoder, source: Array, source_lengths: Any, memory: EncodedSource | None = None
    ) -> None:
        self.config, self.head = model.config, model.head
        self._model, self._source, self._lengths, self._memory = model, source, source_lengths, memory

    def hidden(
        self, ids: Any, cache: DecoderCache | None = None, mask: TensorLike | None = None, positions: Any = None
    ) -> Tensor:
        """As `EncoderDecoder.decode`; the first call encodes the sources. Shapes: ids (B, T) -> (B, T, C)"""
        if self._memory is None:  # not in __init__: by now generation has turned dropout off
            self._memory = self._model.encode(self._source, self._lengths)
        return self._model.decode(ids, self._memory, cache, mask, positions)

    def modules(self) -> Iterator[Module]:
        """The modules of the encoder-decoder."""
        return self._model.modules()

    def new_cache(self) -> DecoderCache:
        """An empty cache for one whole context."""
        return DecoderCache(self.config.num_layers, self.config.context_length)

    def select(self, rows: Array) -> Conditioned:
        """The same with source rows[i] as source i; one source for all prompts stays as it is. Shapes: rows (N,)"""
        if len(self._source) == 1:
            return self
        lengths = None if self._lengths is None else np.asarray(self._lengths)[rows]
        memory = self._memory
        if memory is not None:
            memory = EncodedSource(memory.states[rows], None if memory.mask is None else memory.mask[rows])
        return Conditioned(self._model, self._source[rows], lengths, memory)
