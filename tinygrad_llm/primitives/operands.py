"""Preparing the operands of an operation: one dtype, shapes that broadcast, valid axes.

And undoing broadcasting in its backward: the gradient of a value that was copied along an axis is the sum over its
copies.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from tinygrad_llm.arrays import Array, as_array
from tinygrad_llm.errors import DTypeError, ShapeError
from tinygrad_llm.graph import Axis, TensorLike, plain_tensor
from tinygrad_llm.variable import Variable

if TYPE_CHECKING:
    from tinygrad_llm.tensor import Tensor


def as_tensor(value: TensorLike) -> Tensor:
    """`value` itself if it is a Tensor, else wrapped as one."""
    return value if isinstance(value, Variable) else plain_tensor(as_array(value))  # type: ignore[return-value]


def operands_of_one_dtype(x: TensorLike, y: TensorLike, *, to_float: bool = False) -> tuple[Tensor, Tensor]:
    """Both operands as Tensors of one kind of number.

    A bare number takes the dtype of the other operand, so that `x * 0.5` never promotes float32 to float64; integers
    beside floats become floats of the same width. With `to_float`, two integer operands become float32.
    """
    x, y = beside(x, y), beside(y, x)
    if x.dtype != y.dtype:
        if x.dtype.kind in "fc" and y.dtype.kind in "biu":
            y = plain_tensor(y.data.astype(x.dtype))
        elif y.dtype.kind in "fc" and x.dtype.kind in "biu":
            x = plain_tensor(x.data.astype(y.dtype))
    if to_float and x.dtype.kind in "biu":
        x, y = plain_tensor(x.data.astype(np.float32)), plain_tensor(y.data.astype(np.float32))
    return x, y


def operands(name: str, x: TensorLike, y: TensorLike, *, to_float: bool = False) -> tuple[Tensor, Tensor]:
    """Both operands as Tensors of one kind of number whose shapes broadcast. Raises ShapeError if they do not."""
    if not (isinstance(x, Variable) and isinstance(y, Variable) and x.data.dtype is y.data.dtype) or to_float:
        x, y = operands_of_one_dtype(x, y, to_float=to_float)
    if x.data.shape != y.data.shape:
        try:
            np.broadcast_shapes(x.shape, y.shape)
        except ValueError:
            raise ShapeError(
                f"{name}: shapes must be equal or broadcast (aligned from the right, axes equal or 1); "
                f"got {x.shape} and {y.shape}"
            ) from None
    return x, y  # type: ignore[return-value]  # every Variable is a Tensor


def beside(value: TensorLike, other: TensorLike) -> Tensor:
    """`value` as a Tensor; a bare number in the dtype of `other`, where that can hold it."""
    if isinstance(value, Variable):
        return value  # type: ignore[return-value]
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, bool | int | float) and isinstance(other, Variable):
        kind = other.dtype.kind
        if kind in "fc" or (kind in "iu" and isinstance(value, int)):
            try:
                with np.errstate(over="ignore"):
                    return plain_tensor(np.asarray(value, dtype=other.dtype))
            except OverflowError:
                raise DTypeError(
                    f"the number {value} must fit the other operand's {other.dtype}; convert that first, as in "
                    "x.astype(numpy.int64)"
                ) from None
    return as_tensor(value)


def as_float(x: TensorLike) -> Tensor:
    """`x` as a Tensor of real numbers: integers and booleans become float32."""
    x = as_tensor(x)
    return plain_tensor(x.data.astype(np.float32)) if x.data.dtype.kind in "biu" else x


def wanted_shape(x: Variable) -> tuple[int, ...] | None:
    """The shape of the gradient of `x`, or None if it needs none, so that the work can be saved."""
    return x.data.shape if x.collects_gradient or x.node is not None else None


def unbroadcast(gradient: Array, shape: tuple[int, ...]) -> Array:
    """Sum `gradient` back to `shape`, the shape before broadcasting."""
    if gradient.shape == shape:
        return gradient
    added = gradient.ndim - len(shape)
    stretched = tuple(added + i for i, size in enumerate(shape) if size == 1 and gradient.shape[added + i] != 1)
    return np.asarray(gradient.sum(axis=(*range(added), *stretched), keepdims=True)).reshape(shape)


def normalized_axes(name: str, axis: Axis, ndim: int) -> tuple[int, ...]:
    """`axis` as a sorted tuple of axes counted from the left; None means all. Raises ShapeError for a bad one.

    A 0-d array is reduced along axis 0 or -1 as if it were of shape (1,): over none of its axes.
    """
    if axis is None:
        return tuple(range(ndim))
    if not ndim and isinstance(axis, int | np.integer) and axis in (0, -1):
        return ()
    axes = axis if isinstance(axis, tuple | list) else (axis,)
    for one in axes:
        if not isinstance(one, int | np.integer) or not -ndim <= one < ndim:
            raise ShapeError(f"{name}: axis must be an integer in [{-ndim}, {ndim}) for {ndim} axes; got {one!r}")
    normalized = sorted(int(one) % ndim for one in axes)
    if len(set(normalized)) != len(normalized):
        raise ShapeError(f"{name}: each axis may be named once; got {axis}")
    return tuple(normalized)


def normalized_axis(name: str, axis: int, ndim: int) -> int:
    """One axis, counted from the left."""
    return normalized_axes(name, (axis,), ndim)[0]


def reduced_axis(name: str, axis: int, ndim: int) -> int | tuple[()]:
    """One axis, counted from the left, for a NumPy reduction; of a 0-d array, axis 0 or -1 is none of its axes."""
    return normalized_axis(name, axis, ndim) if ndim or axis not in (0, -1) else ()


def kept_shape(shape: tuple[int, ...], axes: tuple[int, ...]) -> tuple[int, ...]:
    """`shape` with the reduced `axes` kept as 1, ready to broadcast against the unreduced array."""
    return tuple(1 if i in axes else size for i, size in enumerate(shape))


def count_along(shape: tuple[int, ...], axes: tuple[int, ...]) -> int:
    """The number of elements that a reduction over `axes` combines."""
    return math.prod(shape[i] for i in axes)


def as_sizes(name: str, sizes: tuple[Any, ...]) -> tuple[int, ...]:
    """`f(2, 3)` and `f((2, 3))` alike, as a tuple of integers."""
    if len(sizes) == 1 and not isinstance(sizes[0], int | np.integer):
        sizes = tuple(sizes[0])
    if not all(isinstance(size, int | np.integer) for size in sizes):
        raise ShapeError(f"{name}: sizes must be integers; got {sizes}")
    return tuple(int(size) for size in sizes)
