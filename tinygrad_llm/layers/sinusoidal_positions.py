"""Sinusoidal positions: added to the embeddings, and computed rather than learned."""

from __future__ import annotations

from typing import Any

import numpy as np

from tinygrad_llm.arrays import Array
from tinygrad_llm.checks import expect_sizes
from tinygrad_llm.nn.module import Module
from tinygrad_llm.tensor import Tensor


def sinusoidal_positions(num_positions: int, embedding_dim: int) -> Array:
    """A vector of sines and cosines per position (Vaswani et al. 2017, arXiv:1706.03762, section 3.5).

        pe[t, 2i] = sin(t / 10000^(2i/C)),  pe[t, 2i + 1] = cos(t / 10000^(2i/C))

    Each pair of columns is a point on a circle, which goes round once in 2π positions for the first pair and in up to
    10000 · 2π for the last. The vector k positions later is the same rotation of this one at every position.

    >>> sinusoidal_positions(2, 4).round(4)
    array([[0.    , 1.    , 0.    , 1.    ],
           [0.8415, 0.5403, 0.01  , 1.    ]])

    Shapes: -> (num_positions, embedding_dim), float64
    Raises: ConfigError for a size that is not an integer of at least 1
    """
    expect_sizes("sinusoidal_positions", num_positions=num_positions, embedding_dim=embedding_dim)
    columns = np.arange(embedding_dim)
    angles = np.arange(num_positions)[:, None] / 10000.0 ** ((columns - columns % 2) / embedding_dim)
    return np.where(columns % 2, np.cos(angles), np.sin(angles))


class SinusoidalPositions(Module):
    """Add to every token the sines and cosines of its position (Vaswani et al. 2017, arXiv:1706.03762, section 3.5).

    Shapes: x (..., T, C), positions (T,) or (..., T) integers below num_positions -> (..., T, C)
    Raises: ConfigError for a size that is not an integer of at least 1
    """

    def __init__(self, num_positions: int, embedding_dim: int) -> None:
        self.table = sinusoidal_positions(num_positions, embedding_dim)  # not in the state dict: a formula gives it

    def forward(self, x: Tensor, positions: Any) -> Tensor:
        return x + self.table[np.asarray(positions)].astype(x.dtype)
