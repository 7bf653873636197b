"""Initial values of weights.

Every layer draws them from the default generator that `manual_seed` seeds, in the order in which the layers are built,
exactly as PyTorch's layers do: so a seed gives the book's model.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from tinygrad_llm import nn
from tinygrad_llm.arrays import Array
from tinygrad_llm.random import default_generator

_generator: Any = default_generator


@contextmanager
def no_initial_values() -> Iterator[None]:
    """Inside, nothing is drawn: weights are zeros, which take no memory until they are written or a state is loaded."""
    global _generator
    before, _generator = _generator, nn.loading.NoValues
    try:
        yield
    finally:
        _generator = before


def uniform(bound: float, shape: tuple[int, ...]) -> Array:
    """Uniform in [-bound, bound), float32. Shapes: -> shape"""
    return _generator().uniform(-bound, bound, shape)


def normal(shape: tuple[int, ...], std: float = 1.0) -> Array:
    """Normal with mean 0 and standard deviation `std`, float32. Shapes: -> shape"""
    return _generator().normal(0.0, std, shape)


def fan_in_bound(fan_in: int) -> float:
    """1/√fan_in, the bound of PyTorch's `nn.Linear`: He et al. 2015 (arXiv:1502.01852) with a negative slope of √5."""
    return 1 / math.sqrt(fan_in) if fan_in else 0.0
