"""Gather and scatter: read or add elements at the positions that an array of indices names."""

from __future__ import annotations

import operator
from typing import Any

import numpy as np

from tinygrad_llm.arrays import Array
from tinygrad_llm.errors import DTypeError, IdRangeError, ShapeError
from tinygrad_llm.graph import Gradients, TensorLike, record_operation
from tinygrad_llm.primitives.operands import as_tensor, normalized_axis
from tinygrad_llm.tensor import Tensor


def gather(x: TensorLike, axis: int, index: TensorLike) -> Tensor:
    """z[i, j, k] = x[i, index[i, j, k], k] for axis 1: read x along `axis` at the positions in `index`.

        dx = scatter_add of dz: the sum over all elements of z that were read from it

    Shapes: x (...), index (...) integers of as many axes, at most x's size along every other axis -> index's shape
    Saves:  index
    Raises: ShapeError if index does not fit x; DTypeError if it is not integers; IdRangeError outside [0, size)
    """
    x = as_tensor(x)
    axis, places, where = _places("gather", x.shape, axis, index)
    shape, dtype, read = x.shape, x.dtype, places.shape if x.ndim else ()
    z = np.atleast_1d(x.data)[where].reshape(read if x.ndim else places.shape)

    def backward(dz: Array) -> Gradients:
        dx = np.zeros(shape or (1,), dtype)
        np.add.at(dx, where, dz.reshape(where[axis].shape))
        return (dx.reshape(shape),)

    return record_operation(z, (x,), backward)


def scatter_add(x: TensorLike, axis: int, index: TensorLike, source: TensorLike) -> Tensor:
    """A copy of x with z[i, index[i, j, k], k] += source[i, j, k] for axis 1: the counterpart of `gather`.

        dx = dz,  dsource = gather(dz, axis, index)

    Shapes: x (...), index (...) integers, source (...) at least index's size along every axis -> x's shape
    Saves:  index
    Raises: as `gather`; ShapeError if source is smaller than index; DTypeError if source has another dtype than x
    """
    x, source = as_tensor(x), as_tensor(source)
    axis, places, where = _places("scatter_add", x.shape, axis, index)
    if source.dtype != x.dtype:
        raise DTypeError(f"scatter_add: source must be {x.dtype} as x is; got {source.dtype}; use astype")
    fits = source.ndim == places.ndim and all(n <= m for n, m in zip(places.shape, source.shape, strict=True))
    if not fits:
        raise ShapeError(
            f"scatter_add: source must have at least index's sizes {places.shape}; got shape {source.shape}"
        )
    used = tuple(slice(size) for size in places.shape)
    z = np.array(x.data, ndmin=1)
    np.add.at(z, where, source.data[used].reshape(where[axis].shape))
    shape, source_shape = x.shape, source.shape
    wants_source = source.requires_grad

    def backward(dz: Array) -> Gradients:
        if not wants_source:
            return dz, None
        dsource = np.zeros(source_shape, dz.dtype)
        dsource[used] = np.atleast_1d(dz)[where].reshape(places.shape)
        return dz, dsource

    return record_operation(z.reshape(shape), (x, source), backward)


def take_along_axis(x: TensorLike, index: TensorLike, axis: int) -> Tensor:
    """`gather` whose x and index broadcast along the other axes, as `np.take_along_axis`: reads what `argsort` names.

        dx = the sum of dz over all elements of z that were read from it

    Shapes: x (...), index (...) integers of as many axes -> both, broadcast, with index's size along `axis`
    Saves:  index
    Raises: as `gather`. A negative index counts from the end
    """
    x = as_tensor(x)
    axis = normalized_axis("take_along_axis", axis, x.ndim)
    places = _index_array("take_along_axis", index)
    if places.ndim != x.ndim:
        raise ShapeError(f"take_along_axis: index must have {x.ndim} axes as x has; got shape {places.shape}")
    size = x.shape[axis]
    others = [tuple(1 if i == axis else n for i, n in enumerate(shape)) for shape in (x.shape, places.shape)]
    try:
        both = np.broadcast_shapes(*others)
    except ValueError:
        raise ShapeError(
            f"take_along_axis: x and index must broadcast along all axes but {axis}; got {x.shape}, {places.shape}"
        ) from None
    _expect_in_range("take_along_axis", places, -size, size)
    from_start = np.where(places < 0, places + size, places)
    full = np.broadcast_to(from_start, tuple(places.shape[axis] if i == axis else n for i, n in enumerate(both)))
    wide = x.broadcast_to(tuple(size if i == axis else n for i, n in enumerate(both)))
    return gather(wide, axis, full)


def _index_array(name: str, index: TensorLike) -> Array:
    places = np.array(as_tensor(index).data)  # a copy: backward uses it after the caller may have changed it
    if places.size == 0 and places.dtype.kind == "f":
        places = places.astype(np.int64)
    if places.dtype.kind not in "iu":
        raise DTypeError(f"{name}: index must be integers; got {places.dtype}")
    return places


def _expect_in_range(name: str, places: Array, low: int, high: int) -> None:
    if places.size and (places.min() < low or places.max() >= high):
        wrong = places[(places < low) | (places >= high)].flat[0]
        raise IdRangeError(f"{name}: index must be in [{low}, {high}); got {wrong}")


def _places(name: str, shape: tuple[int, ...], axis: int, index: TensorLike) -> tuple[int, Array, tuple[Any, ...]]:
    """The axis counted from the left, the index as an array, and the key that reads x at every place it names."""
    places = _index_array(name, index)
    if not shape:  # a 0-d x is read like one of shape (1,)
        if operator.index(axis) not in (0, -1) or places.ndim > 1:
            raise ShapeError(f"{name}: of a 0-d x, axis must be 0 or -1, index 0-d; got {axis}, {places.shape}")
        _expect_in_range(name, places, 0, 1)
        return 0, places, (places.reshape(-1),)
    axis = normalized_axis(name, axis, len(shape))
    full = places.reshape(1) if places.ndim == 0 and len(shape) == 1 else places
    fits = full.ndim == len(shape) and all(
        i == axis or n <= m for i, (n, m) in enumerate(zip(full.shape, shape, strict=True))
    )
    if not fits and full.size:
        raise ShapeError(
            f"{name}: index must have x's axes, and at most x's size along all but axis {axis}; "
            f"got {places.shape} for x {shape}"
        )
    _expect_in_range(name, places, 0, shape[axis])
    if not fits:
        return axis, places, (np.empty(0, np.intp),) * len(shape)
    grid: list[Any] = list(np.ogrid[tuple(slice(size) for size in full.shape)])
    grid[axis] = full
    return axis, places, tuple(grid)
