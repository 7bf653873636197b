"""GPT: a stack of causal Transformer blocks that predicts the next token (Radford et al. 2018, 2019).

Shape letters, here and everywhere: B sequences in a batch, T tokens in each, C numbers per token (embedding_dim),
H heads of D numbers each (C = H · D), V tokens in the vocabulary.
"""

from __future__ import annotations

import dataclasses
import math
import os
from dataclasses import dataclass
from typing import Any

import numpy as np

from tinygrad_llm.errors import ConfigError, FormatError, ShapeError
from tinygrad_llm.models.config import ModelConfig
from tinygrad_llm.models.gpt_huggingface import read_gpt2, write_gpt2
from tinygrad_llm.nn import (
    Dropout,
    Embedding,
    KVCache,
    LayerNorm,
    Linear,
    Module,
    ModuleList,
    TransformerBlock,
)
from tinygrad_llm.nn.init import no_initial_values, normal
from tinygrad_llm.nn.sizes import expect_sizes
from tinygrad_llm.ops.cross_entropy import cross_entropy, linear_cross_entropy
from tinygrad_llm.random import Generator, default_generator
from tinygrad_llm.tensor import Tensor, TensorLike
from tinygrad_llm.text import Tokenizer

PRESETS: dict[str, dict[str, Any]] = {
    # GPT-2's four sizes as the book configures them: queries, keys and values without bias, the head not tied.
    "gpt2-small": {"embedding_dim": 768, "num_layers": 12, "num_heads": 12},
    "gpt2-medium": {"embedding_dim": 1024, "num_layers": 24, "num_heads": 16},
    "gpt2-large": {"embedding_dim": 1280, "num_layers": 36, "num_heads": 20},
    "gpt2-xl": {"embedding_dim": 1600, "num_layers": 48, "num_heads": 25},
    # For a laptop: minutes of training on two cores, too short to need dropout.
    "nano": {"embedding_dim": 128, "num_layers": 4, "num_heads": 4, "context_length": 64, "vocab_size": 65},
    "micro": {"embedding_dim": 192, "num_layers": 4, "num_heads": 4, "context_length": 128, "vocab_size": 2048},
    "mini": {"embedding_dim": 384, "num_layers": 6, "num_heads": 6, "context_length": 128, "vocab_size": 4096},
}
for _name in ("nano", "micro", "mini"):
    PRESETS[_name] |= {"dropout": 0.0, "tie_weights": True}


@dataclass(frozen=True)
class GPTConfig(ModelConfig):
    """The shape of a GPT. Sizes are counts of at least 1; `embedding_dim` is a multiple of `num_heads`.

    `context_length` is in tokens. `tie_weights` lets the output head share the token embedding's table.
    `feed_forward_dim` is 4 · embedding_dim unless given; `gelu` is "tanh", GPT-2's form, or "none", the exact one.
    Raises ConfigError naming the setting that does not fit.
    """

    vocab_size: int = 50257
    context_length: int = 1024
    embedding_dim: int = 768
    num_heads: int = 12
    num_layers: int = 12
    dropout: float = 0.1
    qkv_bias: bool = False
    tie_weights: bool = False
    feed_forward_dim: int | None = None
    norm_eps: float = 1e-5
    gelu: str = "tanh"

    @classmethod
    def preset(cls, name: str, **changes: Any) -> GPTConfig:
        """A named size, with `changes` to single settings."""
        if name not in PRESETS:
            raise ConfigError(f"GPTConfig.preset: known names are {', '.join(PRESETS)}; got {name!r}")
        return cls.from_dict({**PRESETS[name], **changes})


class GPT(Module):
    """Token ids to the logits of each next token.

    `init="book"` starts with PyTorch's layer defaults in the book's order of construction, so that a seed gives the
    book's model; `init="gpt2"` with GPT-2's: normal with standard deviation 0.02, what is added to the residual stream
    scaled by 1/√(2 · num_layers), biases 0.

    Shapes: ids (B, T) or (T,) integers, T at most context_length -> logits (B, T, V) or (T, V)
    """

    def __init__(self, config: GPTConfig, init: str = "book") -> None:
        if init not in ("book", "gpt2"):
            raise ConfigError(f'GPT: init must be "book" or "gpt2"; got {init!r}')
        self.config = config
        self.token_embedding = Embedding(config.vocab_size, config.embedding_dim)
        self.position_embedding = Embedding(config.context_length, config.embedding_dim)
        self.dropout = Dropout(config.dropout)
        self.blocks = ModuleList(
            TransformerBlock(
                config.embedding_dim,
                config.num_heads,
                config.dropout,
                qkv_bias=config.qkv_bias,
                feed_forward_dim=config.feed_forward_dim,
                norm_eps=config.norm_eps,
                gelu=config.gelu,
            )
            for _ in range(config.num_layers)
        )
        self.final_norm = LayerNorm(config.embedding_dim, config.norm_eps)
        self.head = Linear(config.embedding_dim, config.vocab_size, bias=False)
        if config.tie_weights:
            self.head.weight = self.token_embedding.weight
        if init == "gpt2":
            self._initialize_as_gpt2()

    def _initialize_as_gpt2(self) -> None:
        residual_std = 0.02 / math.sqrt(2 * self.config.num_layers)
        for name, parameter in self.named_parameters():
            if name.endswith("bias"):
                parameter.data[...] = 0
            elif parameter.ndim == 2:
                into_residual = name.endswith(("attention.output.weight", "feed_forward.down.weight"))
                parameter.data[...] = normal(parameter.shape, residual_std if into_residual else 0.02)

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
                f"GPT: ids must be (B, T) or (T,) with T at most context_length {self.config.context_length}"
                f"{f' less the {start} cached' if start else ''}; got {ids.shape}"
            )
        if positions is None:
            positions = np.arange(start, stop)
        x = self.dropout(self.token_embedding(ids) + self.position_embedding(positions))
        for layer, block in enumerate(self.blocks):
            x = block(x, mask=mask, cache=None if cache is None else cache.layers[layer])
        return self.final_norm(x)

    def loss(self, ids: Any, targets: Any) -> Tensor:
        """The mean cross-entropy of `targets` (B, T), nats per target; -100 is not counted."""
        head = self.head
        if type(head) is Linear and head.bias is None and not head._forward_hooks:
            return linear_cross_entropy(self.hidden(ids), head.weight, targets)
        return cross_entropy(self(ids), targets)  # the head was changed: its logits are what it says

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

    # -- Hugging Face folders

    @classmethod
    def from_pretrained(cls, folder: str | os.PathLike[str], dropout: float | None = None) -> GPT:
        """The GPT-2 in a Hugging Face folder (config.json and model.safetensors), in evaluation mode.

        Weights of 64 bits make a float64 model, all others a float32 one, exactly. `dropout` replaces what config.json
        says, which has three numbers where this model has one.

        Raises: FormatError, naming the file, for one that is missing or damaged, or asks for what this model is not
        """
        settings, state = read_gpt2(folder, dropout)
        try:
            config = GPTConfig.from_dict(settings)
        except ConfigError as error:
            raise FormatError(f"{os.fspath(folder)}: config.json does not fit a GPT: {error}") from None
        with no_initial_values():
            model = cls(config)
        model.to(np.result_type(*state.values()))
        model.load_state_dict(state)
        return model.eval()

    def save_pretrained(self, folder: str | os.PathLike[str], tokenizer: Tokenizer | None = None) -> None:
        """Write config.json, model.safetensors and the tokenizer's files, which transformers opens as a GPT-2.

        Without bias of queries, keys and values, zeros are written: GPT-2 always has one there.

        Raises: StateDictError where layers were added or replaced (merge LoRA first), TokenizerError for a tokenizer
                that Hugging Face's files cannot hold, ConfigError where it has more tokens than the model,
                CheckpointError where the folder holds something else or cannot be written
        """
        tied = self.head.weight is self.token_embedding.weight
        settings = {**self.config.to_dict(), "tie_weights": tied}
        write_gpt2(folder, settings, self.state_dict(), tokenizer)

    def new_cache(self) -> KVCache:
        """An empty KV cache with room for one whole context."""
        return KVCache(self.config.num_layers, self.config.context_length)
