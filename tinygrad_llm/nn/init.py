"""Initial values of weights.

Every layer draws them from the default generator that `manual_seed` seeds, in the order in which the layers are built,
exactly as PyTorch's layers do: so a seed gives the book's model.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np

from tinygrad_llm.arrays import Array
from tinygrad_llm.random import default_generator

_drawing = True


@contextmanager
def no_initial_values() -> Iterator[None]:
    """Inside, layers are built with zeros and nothing is drawn: for a model whose weights are about to be loaded."""
    global _drawing
    before, _drawing = _drawing, False
    try:
        yield
    finally:
        _drawing = before


def uniform(bound: float, shape: tuple[int, ...]) -> Array:
    """Uniform in [-bound, bound), float32. Shapes: -> shape"""
    return default_generator().uniform(-bound, bound, shape) if _drawing else np.zeros(shape, np.float32)


def normal(shape: tuple[int, ...], std: float = 1.0) -> Array:
    """Normal with mean 0 and standard deviation `std`, float32. Shapes: -> shape"""
    return default_generator().normal(0.0, std, shape) if _drawing else np.zeros(shape, np.float32)


def fan_in_bound(fan_in: int) -> float:
    """1/√fan_in, the bound of PyTorch's `nn.Linear`: He et al. 2015 (arXiv:1502.01852) with a negative slope of √5."""
    return 1 / math.sqrt(fan_in) if fan_in else 0.0
