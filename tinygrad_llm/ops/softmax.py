"""Softmax and log-softmax: scores to probabilities, and to their logarithms."""

from __future__ import annotations

import numpy as np

from tinygrad_llm.arrays import Array
from tinygrad_llm.graph import Gradients, TensorLike, record_operation
from tinygrad_llm.ops.dispatch import fuses
from tinygrad_llm.primitives.operands import as_float, reduced_axis
from tinygrad_llm.tensor import Tensor


def softmax_composed(x: TensorLike, axis: int = -1) -> Tensor:
    """The definition: what `softmax` must equal, gradients included."""
    x = as_float(x)
    along = reduced_axis("softmax", axis, x.ndim)
    powers = (x - _largest(x.data, along)).exp()
    return powers / powers.sum(axis=along, keepdims=True)


@fuses(softmax_composed)
def softmax(x: TensorLike, axis: int = -1) -> Tensor:
    """p = eˣ / Σ eˣ along `axis`: positive numbers that add up to 1.

        dx = p ⊙ (dp - Σ dp ⊙ p)

    The largest x is subtracted first, which changes nothing but keeps eˣ from overflowing.

    Shapes: x (...) -> p (...)
    Saves:  p (...)
    Raises: ShapeError if x has no such axis
    """
    x = as_float(x)
    along = reduced_axis("softmax", axis, x.ndim)
    p = np.asarray(x.data - _largest(x.data, along))
    np.exp(p, out=p)
    p /= np.add.reduce(p, axis=along, keepdims=True)

    def backward(dp: Array) -> Gradients:
        dx = np.asarray(dp * p)
        dx -= p * np.add.reduce(dx, axis=along, keepdims=True)
        return (dx,)

    return record_operation(p, (x,), backward)


def log_softmax_composed(x: TensorLike, axis: int = -1) -> Tensor:
    """The definition: what `log_softmax` must equal, gradients included."""
    x = as_float(x)
    along = reduced_axis("log_softmax", axis, x.ndim)
    x = x - _largest(x.data, along)
    return x - x.logsumexp(axis=along, keepdims=True)


@fuses(log_softmax_composed)
def log_softmax(x: TensorLike, axis: int = -1) -> Tensor:
    """ln softmax(x) = x - ln Σ eˣ along `axis`, exact also where the probability itself underflows.

        dx = dy - softmax(x) Σ dy

    Shapes: x (...) -> y (...)
    Saves:  y (...)
    Raises: ShapeError if x has no such axis
    """
    x = as_float(x)
    along = reduced_axis("log_softmax", axis, x.ndim)
    y = np.asarray(x.data - _largest(x.data, along))
    y -= np.log(np.add.reduce(np.exp(y), axis=along, keepdims=True))

    def backward(dy: Array) -> Gradients:
        dx = np.asarray(np.exp(y))
        dx *= np.add.reduce(dy, axis=along, keepdims=True)
        return (np.subtract(dy, dx, out=dx),)

    return record_operation(y, (x,), backward)


def _largest(x: Array, axis: int | tuple[()]) -> Array:
    """The largest element along `axis`, or 0 where that is -infinity, as in an empty row."""
    largest = np.maximum.reduce(x.real, axis=axis, keepdims=True, initial=-np.inf)
    return np.where(np.isneginf(largest), np.zeros((), largest.dtype), largest)
