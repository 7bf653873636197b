"""What every model that predicts the next token does alike, whatever its blocks are made of.

Shape letters, here and everywhere: B sequences in a batch, T tokens in each, C numbers per token (embedding_dim),
H heads of D numbers each (C = H · D unless a model says otherwise), V tokens in the vocabulary.
"""

from __future__ import annotations

import dataclasses
import math
import os
from collections.abc import Callable
from typing import Any, Self

import numpy as np

from tinygrad_llm.checks import expect_sizes
from tinygrad_llm.errors import ConfigError, FormatError, ShapeError
from tinygrad_llm.models.config import ModelConfig
from tinygrad_llm.nn import Embedding, KVCache, Linear, MixtureOfExperts, Module, ModuleList
from tinygrad_llm.nn.init import no_initial_values, normal
from tinygrad_llm.ops.cross_entropy import cross_entropy, linear_cross_entropy
from tinygrad_llm.random import Generator, default_generator
from tinygrad_llm.tensor import Array, Tensor, TensorLike
from tinygrad_llm.text import Tokenizer


class LanguageModel(Module):
    """Token ids to the logits of each next token: embedding, blocks, final norm, head.

    A subclass sets these parts, says in `_embed` what a token enters the first block as, and how a Hugging Face folder
    is read and written.

    Shapes: ids (B, T) or (T,) integers, T at most context_length -> logits (B, T, V) or (T, V)
    """

    config: Any
    config_class: type[ModelConfig]
    _read_folder: Callable[[str | os.PathLike[str], float | None], tuple[dict[str, Any], dict[str, Array]]]
    _write_folder: Callable[[str | os.PathLike[str], dict[str, Any], dict[str, Array], Tokenizer | None], None]
    token_embedding: Embedding
    blocks: ModuleList
    final_norm: Module
    head: Linear

    def __init__(self, config: Any) -> None:
        raise NotImplementedError(f"{type(self).__name__} must define __init__")

    def initialize_as_gpt2(self) -> None:
        """Draw all weights anew as GPT-2's code does: normal with standard deviation 0.02, biases 0, norms left alone.

        What is added to the residual stream is scaled by 1/√(2 · num_layers), so that the stream is as large at every
        depth (Radford et al. 2019, section 2.3).
        """
        residual_std = 0.02 / math.sqrt(2 * self.config.num_layers)
        for name, parameter in self.named_parameters():
            if name.endswith("bias"):
                parameter.data[...] = 0
            elif parameter.ndim == 2:
                into_residual = name.endswith(("attention.output.weight", "down.weight"))
                parameter.data[...] = normal(parameter.shape, residual_std if into_residual else 0.02)

    def _embed(self, ids: Array, positions: Array) -> Tensor:
        raise NotImplementedError(f"{type(self).__name__} must define _embed")

    def forward(
        self, ids: Any, cache: KVCache | None = None, mask: TensorLike | None = None, positions: Any = None
    ) -> Tensor:
        """Logits of the token after each of `ids`. With a `cache`, ids continue what it has read; see `hidden`."""
        return self.head(self.hidden(ids, cache, mask, positions))

    def hidden(
        self, ids: Any, cache: KVCache | None = None, mask: TensorLike | None = None, positions: Any = None
    ) -> Tensor:
        """What the head reads: the residual stream after the last block, normalised. Shapes: (B, T) -> (B, T, C).

        `mask` as in `scaled_dot_product_attention`, for what else than the future is to be hidden. `positions`, (T,) or
        (B, T), say where in its text each token stands, if not one after the other: after padding on the left, which
        the mask hides, a text still begins at 0.
        """
        ids = ids.data if isinstance(ids, Tensor) else np.asarray(ids)
        start = 0 if cache is None else cache.length
        stop = start + ids.shape[-1] if ids.ndim else start
        if ids.ndim not in (1, 2) or stop > self.config.context_length:
            raise ShapeError(
                f"{type(self).__name__}: ids must be (B, T) or (T,) with T at most context_length "
                f"{self.config.context_length}{f' less the {start} cached' if start else ''}; got {ids.shape}"
            )
        if positions is None:
            positions = np.arange(start, stop)
        x = self._embed(ids, positions)
        for layer, block in enumerate(self.blocks):
            x = block(x, mask=mask, cache=None if cache is None else cache.layers[layer], positions=positions)
        return self.final_norm(x)

    def loss(self, ids: Any, targets: Any) -> Tensor:
        """The mean cross-entropy of `targets` (B, T), nats per target; -100 is not counted.

        In training, what a mixture of experts asks for its balance is added.
        """
        head = self.head
        if type(head) is Linear and head.bias is None and not head._forward_hooks:
            loss = linear_cross_entropy(self.hidden(ids), head.weight, targets)
        else:
            loss = cross_entropy(self(ids), targets)  # the head was changed: its logits are what it says
        if self.training:
            for part in self.modules():
                if isinstance(part, MixtureOfExperts):
                    loss = loss + part.balance_loss()
        return loss

    def resize_token_embeddings(self, new_size: int, generator: Generator | None = None) -> None:
        """Give embedding and head, shared or not, rows for `new_size` tokens; the first rows stay as they are.

        A new row is the mean of the old ones (Hewitt 2021, "Initializing New Word Embeddings for Pretrained Language
        Models": so it takes little from the others' probability) with 1% of their spread as noise from `generator`,
        that new tokens may differ. Make the optimizer afterwards: its moments have the old shape.

        Raises: ConfigError for a size that is none, or where the head no longer predicts tokens
        """
        expect_sizes("resize_token_embeddings", new_size=new_size)
        rows = self.config.vocab_size
        if not isinstance(self.head, Linear) or self.head.out_features != rows:
            raise ConfigError(f"resize_token_embeddings: the head must be the Linear to {rows} logits; it was replaced")
        generator = default_generator() if generator is None else generator
        tables = {id(table): table for table in (self.token_embedding.weight, self.head.weight)}  # a shared one once
        for table in tables.values():
            old = table.data[:new_size]
            shape = (new_size - len(old), old.shape[1])
            if shape[0]:
                noise = 0.01 * table.data.std(axis=0) * generator.normal(0.0, 1.0, shape)
                old = np.concatenate([old, (table.data.mean(axis=0) + noise).astype(old.dtype)])
            table.data, table.grad = old.copy(), None
        self.token_embedding.num_embeddings = self.head.out_features = new_size
        self.config = dataclasses.replace(self.config, vocab_size=int(new_size))

    def new_cache(self) -> KVCache:
        """An empty KV cache with room for one whole context, or for what the layers' windows see of it."""
        windows = [getattr(block.attention, "window", None) for block in self.blocks]
        return KVCache(len(windows), self.config.context_length, windows)

    @classmethod
    def from_pretrained(cls, folder: str | os.PathLike[str], dropout: float | None = None) -> Self:
        """The model in a Hugging Face folder (config.json and model.safetensors), in evaluation mode.

        Weights of 64 bits make a float64 model, all others a float32 one, exactly. `dropout` replaces what config.json
        says, where GPT-2 has three numbers and this package one.

        Raises: FormatError, naming the file, for one that is missing or damaged, or asks for what this model is not
        """
        settings, state = cls._read_folder(folder, dropout)
        try:
            with no_initial_values():
                model = cls(cls.config_class.from_dict(settings))
        except ConfigError as error:
            raise FormatError(f"{os.fspath(folder)}: config.json does not fit a {cls.__name__}: {error}") from None
        model.to(np.result_type(*state.values()))
        model.load_state_dict(state)
        return model.eval()

    def save_pretrained(self, folder: str | os.PathLike[str], tokenizer: Tokenizer | None = None) -> None:
        """Write config.json, model.safetensors and the tokenizer's files, which transformers opens.

        Raises: StateDictError where layers were added or replaced (merge LoRA first), TokenizerError for a tokenizer
                that Hugging Face's files cannot hold, ConfigError where it has more tokens than the model,
                CheckpointError where the folder holds something else or cannot be written
        """
        tied = self.head.weight is self.token_embedding.weight
        self._write_folder(folder, {**self.config.to_dict(), "tie_weights": tied}, self.state_dict(), tokenizer)
