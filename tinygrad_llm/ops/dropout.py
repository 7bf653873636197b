"""Dropout: set a random part of the activations to 0 in training."""

from __future__ import annotations

import numpy as np

from tinygrad_llm import buffers
from tinygrad_llm.arrays import Array
from tinygrad_llm.checks import expect_probability
from tinygrad_llm.graph import Gradients, TensorLike, record_operation
from tinygrad_llm.ops.dispatch import fuses
from tinygrad_llm.primitives.operands import as_float
from tinygrad_llm.random import Generator, default_generator
from tinygrad_llm.tensor import Tensor


def dropout_composed(
    x: TensorLike, p: float = 0.5, training: bool = True, generator: Generator | None = None
) -> Tensor:
    """The definition: what `dropout` must equal, gradients included."""
    x = as_float(x)
    expect_probability("dropout", "p", p)
    if not training or p == 0:
        return x
    keep = (generator or default_generator()).dropout_mask(x.shape, p)
    return (x * dropout_scale(p, x.dtype)).masked_fill(~keep, 0.0)


@fuses(dropout_composed)
def dropout(x: TensorLike, p: float = 0.5, training: bool = True, generator: Generator | None = None) -> Tensor:
    """Zero each element with probability p, and scale the others by 1 / (1 - p) (Srivastava et al. 2014).

        y = x ⊙ keep / (1 - p),  dx = dy ⊙ keep / (1 - p)

    The scale keeps the expected value, so that evaluation needs none: with `training=False`, or p = 0, x is returned
    as it is and nothing is drawn. The mask comes from `generator`, else from the default one that `manual_seed` seeds.

    Shapes: x (...) -> y (...)
    Saves:  keep (...), booleans
    Raises: ConfigError if p is no probability
    """
    x = as_float(x)
    expect_probability("dropout", "p", p)
    if not training or p == 0:
        return x
    keep = (generator or default_generator()).dropout_mask(x.shape, p)
    scale = dropout_scale(p, x.dtype)
    y = buffers.select(keep, x.data)
    y *= scale

    def backward(dy: Array) -> Gradients:
        dx = buffers.select(keep, dy)
        dx *= scale
        return (dx,)

    return record_operation(y, (x,), backward)


def dropout_scale(p: float, dtype: np.dtype) -> Array:
    """1 / (1 - p) in the activations' dtype; with p = 1 nothing is kept, and nothing is scaled."""
    return np.asarray(0.0 if p == 1 else 1 / (1 - p), dtype=dtype)
