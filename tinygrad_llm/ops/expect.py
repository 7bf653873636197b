"""The invariants that the ops share, checked before any arithmetic."""

from __future__ import annotations

from typing import Any

import numpy as np

from tinygrad_llm.arrays import as_array
from tinygrad_llm.errors import ConfigError, DTypeError, IdRangeError, ShapeError
from tinygrad_llm.tensor import Array, Tensor


def expect_shape(op: str, x: Tensor, shape: tuple[int, ...], **operands: Tensor | None) -> None:
    """Every operand given must have `shape`, which x dictates. Raises ShapeError naming the one that has not."""
    for name, operand in operands.items():
        if operand is not None and operand.data.shape != shape:
            raise ShapeError(f"{op}: {name} must be {shape} to match x {x.shape}; got {operand.shape}")


def expect_axes(op: str, x: Tensor, at_least: int) -> None:
    if x.data.ndim < at_least:
        raise ShapeError(f"{op}: x needs at least {at_least} axes; got shape {x.shape}")


def expect_probability(op: str, name: str, value: float) -> None:
    if not isinstance(value, int | float | np.number) or not 0 <= value <= 1:
        raise ConfigError(f"{op}: {name} must be a probability in [0, 1]; got {value!r}")


def as_ids(op: str, ids: Any, count: int, ignored: int | None = None) -> Array:
    """`ids` (integer array, Tensor or list) as an array whose every entry is in [0, count), or is `ignored`.

    Raises DTypeError for floats or booleans, ShapeError for lists of unequal lengths, IdRangeError naming the first
    offender and its position.
    """
    array = as_array(ids)
    if array.dtype.kind not in "iu":
        if array.size:
            raise DTypeError(f"{op}: ids must be integers; got {array.dtype}; convert with astype(numpy.int64)")
        array = array.astype(np.int64)
    if not array.size:
        return array
    if int(array.min()) >= 0 and int(array.max()) < count:
        return array
    outside = (array < 0) | (array >= count)
    if ignored is not None:
        outside &= array != ignored
    if outside.any():
        where = tuple(int(i) for i in np.argwhere(outside)[0])
        raise IdRangeError(f"{op}: ids must be in [0, {count}); got {int(array[where])} at position {where}")
    return array
