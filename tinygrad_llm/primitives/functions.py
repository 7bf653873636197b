"""The package's functions beside Tensor's methods: cat, stack, split, pad, where, maximum, minimum.

Loaded on first use.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from tinygrad_llm.arrays import Array
from tinygrad_llm.errors import ShapeError
from tinygrad_llm.graph import Gradients, TensorLike, record_operation
from tinygrad_llm.primitives.comparison import as_condition
from tinygrad_llm.primitives.operands import as_tensor, beside, normalized_axis, operands, unbroadcast, wanted_shape

if TYPE_CHECKING:
    from tinygrad_llm.tensor import Tensor


def cat(tensors: Sequence[TensorLike], axis: int = 0) -> Tensor:
    """Concatenate Tensors along an existing axis;  each gets its slice of the gradient."""
    parts = [as_tensor(part) for part in tensors]
    if not parts:
        raise ShapeError("cat: at least one Tensor is needed; got none")
    axis = normalized_axis("cat", axis, parts[0].ndim)
    try:
        z = np.concatenate([part.data for part in parts], axis)
    except ValueError:
        raise ShapeError(
            f"cat: shapes must agree except along axis {axis}; got {[part.shape for part in parts]}"
        ) from None
    ends = list(itertools.accumulate(part.shape[axis] for part in parts))

    def backward(dz: Array) -> Gradients:
        return np.split(dz, ends[:-1], axis)

    return record_operation(z, parts, backward)


def stack(tensors: Sequence[TensorLike], axis: int = 0) -> Tensor:
    """Join Tensors of one shape along a new axis;  each gets its slice of the gradient."""
    parts = [as_tensor(part) for part in tensors]
    if not parts:
        raise ShapeError("stack: at least one Tensor is needed; got none")
    if any(part.shape != parts[0].shape for part in parts):
        raise ShapeError(f"stack: all shapes must be equal; got {[part.shape for part in parts]}")
    axis = normalized_axis("stack", axis, parts[0].ndim + 1)

    def backward(dz: Array) -> Gradients:
        return [dz.take(i, axis) for i in range(len(parts))]

    return record_operation(np.stack([part.data for part in parts], axis), parts, backward)


def split(x: TensorLike, size: int | Sequence[int], axis: int = 0) -> tuple[Tensor, ...]:
    """`x.split(size, axis)`, where x may be any array."""
    return as_tensor(x).split(size, axis)


def pad(x: TensorLike, pad_width: Sequence[tuple[int, int]], value: TensorLike = 0.0) -> Tensor:
    """`x.pad(pad_width, value)`, where x may be any array."""
    return as_tensor(x).pad(pad_width, value)


def where(condition: TensorLike, x: TensorLike, y: TensorLike) -> Tensor:
    """z = x where the condition holds, else y; the gradient follows the choice."""
    chosen = as_condition("where", condition)
    x, y = operands("where", x, y)
    x_shape, y_shape = wanted_shape(x), wanted_shape(y)
    try:
        z = np.where(chosen, x.data, y.data)
    except ValueError:
        raise ShapeError(
            f"where: condition, x and y must broadcast; got {chosen.shape}, {x.shape} and {y.shape}"
        ) from None

    def backward(dz: Array) -> Gradients:
        return (
            None if x_shape is None else unbroadcast(np.where(chosen, dz, 0), x_shape),
            None if y_shape is None else unbroadcast(np.where(chosen, 0, dz), y_shape),
        )

    return record_operation(z, (x, y), backward)


def maximum(x: TensorLike, y: TensorLike) -> Tensor:
    """`x.maximum(y)`, where x may be any array or number."""
    return beside(x, y).maximum(y)


def minimum(x: TensorLike, y: TensorLike) -> Tensor:
    """`x.minimum(y)`, where x may be any array or number."""
    return beside(x, y).minimum(y)
