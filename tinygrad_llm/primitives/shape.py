"""The same numbers in another shape or dtype. Forward gives a view where NumPy can; backward undoes the move."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from tinygrad_llm.errors import DTypeError, ShapeError
from tinygrad_llm.primitives.operands import as_sizes, normalized_axes, normalized_axis, unbroadcast
from tinygrad_llm.tensor import Array, Axis, Gradients, Tensor, TensorLike, as_tensor, record, tensor_method


@tensor_method("reshape")
def reshape(x: TensorLike, *shape: int | Sequence[int]) -> Tensor:
    """The elements in row-major order, in `shape`; one size may be -1 and is worked out."""
    x = as_tensor(x)
    sizes, before = as_sizes("reshape", shape), x.shape
    try:
        z = x.data.reshape(sizes)
    except ValueError:
        raise ShapeError(f"reshape: {x.size} elements of shape {x.shape} do not fit {sizes}") from None

    def backward(dz: Array) -> Gradients:
        return (dz.reshape(before),)

    return record(z, (x,), backward)


@tensor_method("permute")
def permute(x: TensorLike, *axes: int | Sequence[int]) -> Tensor:
    """The axes in a new order: axis i of the result is axis `axes[i]` of x."""
    x = as_tensor(x)
    order = as_sizes("permute", axes)
    if len(normalized_axes("permute", order, x.ndim)) != x.ndim:
        raise ShapeError(f"permute: all {x.ndim} axes must be named; got {order} for shape {x.shape}")
    back = np.argsort([axis % x.ndim for axis in order])

    def backward(dz: Array) -> Gradients:
        return (dz.transpose(back),)

    return record(x.data.transpose(order), (x,), backward)


@tensor_method("transpose")
def transpose(x: TensorLike, first: int, second: int) -> Tensor:
    """Swap two axes, as in PyTorch."""
    x = as_tensor(x)
    first, second = normalized_axis("transpose", first, x.ndim), normalized_axis("transpose", second, x.ndim)

    def backward(dz: Array) -> Gradients:
        return (dz.swapaxes(first, second),)

    return record(x.data.swapaxes(first, second), (x,), backward)


def _reversed_axes(x: Tensor) -> Tensor:
    """All axes in reverse order: the transpose of a matrix."""
    return permute(x, *reversed(range(x.ndim)))


tensor_method("T")(property(_reversed_axes))  # type: ignore[arg-type]


@tensor_method("squeeze")
def squeeze(x: TensorLike, axis: Axis = None) -> Tensor:
    """Drop axes of size 1: all of them, or those named. Raises ShapeError if a named axis is not 1."""
    x = as_tensor(x)
    named = normalized_axes("squeeze", axis, x.ndim)
    dropped = tuple(i for i in named if x.shape[i] == 1)
    if axis is not None and dropped != named:
        raise ShapeError(f"squeeze: the axes named must have size 1; got {axis} of shape {x.shape}")
    before = x.shape

    def backward(dz: Array) -> Gradients:
        return (dz.reshape(before),)

    return record(x.data.squeeze(dropped), (x,), backward)


@tensor_method("unsqueeze")
def unsqueeze(x: TensorLike, axis: int) -> Tensor:
    """Insert an axis of size 1 at `axis` of the result."""
    x = as_tensor(x)
    axis = normalized_axis("unsqueeze", axis, x.ndim + 1)

    def backward(dz: Array) -> Gradients:
        return (dz.squeeze(axis),)

    return record(np.expand_dims(x.data, axis), (x,), backward)


@tensor_method("broadcast_to")
def broadcast_to(x: TensorLike, shape: Sequence[int]) -> Tensor:
    """Repeat x along new axes and axes of size 1 up to `shape`;  the gradient sums over the copies."""
    x = as_tensor(x)
    before = x.shape
    try:
        z = np.broadcast_to(x.data, as_sizes("broadcast_to", (shape,)))
    except ValueError:
        raise ShapeError(f"broadcast_to: {x.shape} does not broadcast to {tuple(shape)}") from None

    def backward(dz: Array) -> Gradients:
        return (unbroadcast(dz, before),)

    return record(z, (x,), backward)


@tensor_method("astype")
def astype(x: TensorLike, dtype: Any) -> Tensor:
    """The same numbers in another dtype;  the gradient returns in x's own. Integers end the graph."""
    x = as_tensor(x)
    try:
        target = np.dtype(dtype)
    except TypeError:
        raise DTypeError(f"astype: dtype must be a NumPy dtype; got {dtype!r}") from None
    if target.kind not in "fc":
        return Tensor(x.data.astype(target))

    def backward(dz: Array) -> Gradients:
        return (dz,)  # the walk casts it to the parent's dtype

    return record(x.data.astype(target), (x,), backward)
