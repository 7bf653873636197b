"""The embedding layer: one learned vector per id."""

from __future__ import annotations

from typing import Any

from tinygrad_llm.checks import expect_sizes
from tinygrad_llm.nn import init
from tinygrad_llm.nn.module import Module, Parameter
from tinygrad_llm.ops.embedding import embedding
from tinygrad_llm.tensor import Tensor


class Embedding(Module):
    """The row of a learned table for each id (Bengio et al. 2003, JMLR 3). The table starts standard normal.

    Shapes: ids (...) integers in [0, num_embeddings) -> (..., embedding_dim); weight (num_embeddings, embedding_dim)
    Raises: ConfigError for a size that is not an integer of at least 1; in forward IdRangeError for an id outside the
            table
    """

    def __init__(self, num_embeddings: int, embedding_dim: int) -> None:
        expect_sizes("Embedding", num_embeddings=num_embeddings, embedding_dim=embedding_dim)
        self.num_embeddings, self.embedding_dim = num_embeddings, embedding_dim
        self.weight = Parameter(init.normal((num_embeddings, embedding_dim)))

    def forward(self, ids: Any) -> Tensor:
        return embedding(ids, self.weight)

    def extra_repr(self) -> str:
        return f"{self.num_embeddings}, {self.embedding_dim}"
