"""The base class of next-token models.

Shape letters, here and everywhere: B sequences in a batch, T tokens in each, C numbers per token (embedding_dim),
H heads of D numbers each (C = H · D unless a model says otherwise), V tokens in the vocabulary.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from tinygrad_llm import models, nn
from tinygrad_llm.arrays import Array
from tinygrad_llm.errors import ShapeError
from tinygrad_llm.graph import TensorLike
from tinygrad_llm.models.pretrained import Pretrained
from tinygrad_llm.nn import Embedding, Linear, Module, ModuleList
from tinygrad_llm.nn.init import normal
from tinygrad_llm.ops.cross_entropy import cross_entropy, linear_cross_entropy
from tinygrad_llm.random import Generator
from tinygrad_llm.tensor import Tensor


class LanguageModel(Pretrained):
    """Token ids to the logits of each next token: embedding, blocks, final norm, head.

    A subclass sets these parts in its `__init__`, and defines `_embed`, the input of the first block.

    Shapes: ids (B, T) or (T,) integers, T at most context_length -> logits (B, T, V) or (T, V)
    """

    token_embedding: Embedding
    blocks: ModuleList
    final_norm: Module
    head: Any  # a Linear, or a layer around one

    def initialize_as_gpt2(self) -> None:
        """Draw all weights again as GPT-2's code does: normal with standard deviation 0.02, biases 0, norms unchanged.

        Weights whose output is added to the residual stream are scaled by 1/√(2 · num_layers), so that the stream has
        the same variance at every depth (Radford et al. 2019, section 2.3).
        """
        residual_std = 0.02 / math.sqrt(2 * self.config.num_layers)
        for name, parameter in self.named_parameters():
            if name.endswith("bias"):
                parameter.data = np.zeros_like(parameter.data)
            elif parameter.ndim == 2:
                into_residual = name.endswith(("attention.output.weight", "down.weight"))
                parameter.data = normal(parameter.shape, residual_std if into_residual else 0.02)

    def _embed(self, ids: Array, positions: Any) -> Tensor:
        """The input of the first block. Shapes: ids (B, T), positions (T,) or (B, T) -> (B, T, C)"""
        raise NotImplementedError(f"{type(self).__name__} must define _embed")

    def forward(
        self, ids: Any, cache: nn.KVCache | None = None, mask: TensorLike | None = None, positions: Any = None
    ) -> Tensor:
        """Logits of the token after each of `ids`; the arguments as in `hidden`. Shapes: ids (B, T) -> (B, T, V)"""
        return self.head(self.hidden(ids, cache, mask, positions))

    def hidden(
        self, ids: Any, cache: nn.KVCache | None = None, mask: TensorLike | None = None, positions: Any = None
    ) -> Tensor:
        """The input of the head: the residual stream after the last block, normalised.

        With a `cache`, `ids` continue the tokens that it has read. `mask`, as in `scaled_dot_product_attention`, hides
        more than the future. `positions` are those of the tokens in their text, by default one after the other; give
        them for texts padded on the left, which begin at 0 after the padding.

        Shapes: ids (B, T), mask broadcasting to (B, H, T, S), positions (T,) or (B, T) -> (B, T, C)
        Raises: ShapeError for ids of another rank, or more tokens than the context length
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
        if cache is not None and models.few_tokens.suits(self, ids, cache):
            return Tensor(models.few_tokens.hidden(self, x.data, cache, mask, positions))
        for layer, block in enumerate(self.blocks):
            x = block(x, mask=mask, cache=None if cache is None else cache.layers[layer], positions=positions)
        return self.final_norm(x)

    def loss(self, ids: Any, targets: Any) -> Tensor:
        """The mean cross-entropy of `targets`; a target of -100 is not counted. Units: nats per target.

        In training, the loss of every module that has an `extra_loss()` is added, such as the load-balancing loss of a
        mixture of experts.

        Shapes: ids, targets (B, T) -> ()
        """
        head = self.head
        if type(head) is Linear and head.bias is None and not head._forward_hooks:
            loss = linear_cross_entropy(self.hidden(ids), head.weight, targets)
        else:
            loss = cross_entropy(self(ids), targets)  # a replaced or hooked head: its own forward gives the logits
        if self.training:
            for part in self.modules():
                if hasattr(part, "extra_loss"):
                    loss = loss + part.extra_loss()
        return loss

    def new_cache(self) -> nn.KVCache:
        """An empty cache for one whole context; for a layer with a window, for what the window sees."""
        return nn.KVCache.of_layers([block.attention for block in self.blocks], self.config.context_length)

    def resize_token_embeddings(self, new_size: int, generator: Generator | None = None) -> None:
        """Resize the vocabulary in place; see `tinygrad_llm.models.resize_token_embeddings`."""
        models.resize_token_embeddings(self, new_size, generator)
