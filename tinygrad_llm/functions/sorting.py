"""Sorting: sort, argsort, topk and argmin. NaN counts as larger than every number, as in PyTorch."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from tinygrad_llm.arrays import Array
from tinygrad_llm.errors import ConfigError, ShapeError
from tinygrad_llm.functions.gathering import take_along_axis
from tinygrad_llm.graph import TensorLike
from tinygrad_llm.primitives.operands import as_tensor, count_along, normalized_axes, normalized_axis
from tinygrad_llm.tensor import Tensor


class Sorted(NamedTuple):
    """The values in order, and the index in x of each."""

    values: Tensor
    indices: Tensor


def sort(x: TensorLike, axis: int = -1, descending: bool = False) -> Sorted:
    """x in ascending (or descending) order along `axis`, and their indices; stable: equal elements keep their order.

    Backward writes the gradient of each value to its index in x.

    Shapes: x (...) -> values (...), indices (...)
    Raises: ShapeError if x has no such axis
    """
    x = as_tensor(x)
    return _gathered(x, axis, _order("sort", x, axis, descending))


def argsort(x: TensorLike, axis: int = -1, descending: bool = False) -> Tensor:
    """The indices that sort x along `axis`, as integers; stable: equal elements keep their order.

    Shapes: x (...) -> (...)
    Raises: ShapeError if x has no such axis
    """
    return Tensor(_order("argsort", as_tensor(x), axis, descending))


def topk(x: TensorLike, k: int, axis: int = -1, largest: bool = True) -> Sorted:
    """The k largest (or smallest) elements along `axis`, in order, and their indices; of equal ones, the first.

    Backward writes the gradient of each value to its index in x.

    Shapes: x (..., n, ...) -> values and indices (..., k, ...)
    Raises: ConfigError unless 0 <= k <= n, ShapeError if x has no such axis
    """
    x = as_tensor(x)
    order = _order("topk", x, axis, descending=largest)
    size = x.shape[axis] if x.ndim else 1
    if not isinstance(k, int | np.integer) or not 0 <= k <= size:
        raise ConfigError(f"topk: k must be an integer in 0..{size}, the size of axis {axis}; got {k!r}")
    if not x.ndim:
        if k != 1:
            raise ConfigError(f"topk: k must be 1 for a 0-d x; got {k}")
        return _gathered(x, axis, order)
    return _gathered(x, axis, np.take(order, np.arange(k), axis))


def argmin(x: TensorLike, axis: int | None = None, keepdims: bool = False) -> Tensor:
    """The index of the (first) smallest element along `axis`, as integers; of the first NaN if there is one.

    Shapes: x (...) -> (...) without `axis`, or with 1 there if `keepdims`; () if axis is None
    Raises: ShapeError if there is nothing to choose from
    """
    x = as_tensor(x)
    if not x.ndim and axis in (0, -1):
        axis = None
    if not count_along(x.shape, normalized_axes("argmin", axis, x.ndim)):
        raise ShapeError(f"argmin: needs at least one element along axis {axis}; got shape {x.shape}")
    return Tensor(np.asarray(np.argmin(x.data, axis=axis, keepdims=keepdims)))


def _order(name: str, x: Tensor, axis: int, descending: bool) -> Array:
    if not x.ndim:
        normalized_axis(name, axis, 1)
        return np.zeros((), np.int64)
    axis = normalized_axis(name, axis, x.ndim)
    if not descending:
        return np.argsort(x.data, axis=axis, kind="stable")
    # Reversed before and after, so that equal elements keep their order. Negating would lose the smallest integer.
    backwards = np.argsort(np.flip(x.data, axis), axis=axis, kind="stable")
    return x.shape[axis] - 1 - np.flip(backwards, axis)


def _gathered(x: Tensor, axis: int, order: Array) -> Sorted:
    values = take_along_axis(x, order, axis) if x.ndim else x.reshape(())
    return Sorted(values, Tensor(order))
