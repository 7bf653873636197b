"""Checks of arguments, made before any arithmetic. Every check is called `expect_...` and raises one of our errors.

A message names the caller and the argument, states the invariant, and says what came instead:

    Linear: in_features must be an integer of at least 1; got 0
"""

from __future__ import annotations

import math
from collections.abc import Collection
from typing import Any, Protocol

import numpy as np

from tinygrad_llm.arrays import Array, as_array
from tinygrad_llm.errors import ConfigError, DTypeError, IdRangeError, ShapeError


class HasShape(Protocol):
    """An array or a Tensor."""

    @property
    def shape(self) -> tuple[int, ...]: ...


def is_number(value: Any) -> bool:
    """Whether `value` is one real number of Python's or NumPy's; True and False are not numbers here."""
    return isinstance(value, int | float | np.integer | np.floating) and not isinstance(value, bool)


def expect_number(owner: str, name: str, value: Any, low: float = 0.0, high: float = math.inf) -> None:
    """Raises ConfigError unless `value` is a real number with low <= value < high."""
    if not is_number(value) or not low <= value < high:
        limit = "finite" if high == math.inf else f"below {high:g}"
        raise ConfigError(f"{owner}: {name} must be a number, at least {low:g} and {limit}; got {value!r}")


def expect_count(owner: str, name: str, value: Any, at_least: int = 1) -> None:
    """Raises ConfigError unless `value` is an integer of at least `at_least`."""
    if not isinstance(value, int | np.integer) or isinstance(value, bool) or value < at_least:
        raise ConfigError(f"{owner}: {name} must be an integer of at least {at_least}; got {value!r}")


def expect_sizes(owner: str, **sizes: int) -> None:
    """Raises ConfigError naming the size that is not an integer of at least 1."""
    for name, size in sizes.items():
        expect_count(owner, name, size)


def expect_multiple(owner: str, **sizes: int) -> None:
    """Raises ConfigError unless the first of two sizes is a multiple of the second."""
    (name, size), (other, step) = sizes.items()
    if size % step:
        raise ConfigError(f"{owner}: {name} must be a multiple of {other}; got {size} and {step}")


def expect_probability(owner: str, name: str, value: Any) -> None:
    """Raises ConfigError unless `value` is a number in [0, 1]."""
    if not is_number(value) or not 0 <= value <= 1:
        raise ConfigError(f"{owner}: {name} must be a probability in [0, 1]; got {value!r}")


def expect_choice(owner: str, name: str, value: Any, choices: Collection[str]) -> None:
    """Raises ConfigError unless `value` is one of `choices`."""
    if not isinstance(value, str) or value not in choices:
        *others, last = (f'"{choice}"' for choice in choices)
        listed = f"{', '.join(others)} or {last}" if others else last
        raise ConfigError(f"{owner}: {name} must be {listed}; got {value!r}")


def expect_shape(op: str, x: HasShape, shape: tuple[int, ...], **operands: HasShape | None) -> None:
    """Raises ShapeError naming the operand that has not the `shape` that x requires; None is skipped."""
    for name, operand in operands.items():
        if operand is not None and operand.shape != shape:
            raise ShapeError(f"{op}: {name} must be {shape} to match x {x.shape}; got {operand.shape}")


def expect_axes(op: str, x: HasShape, at_least: int) -> None:
    """Raises ShapeError unless x has at least so many axes."""
    if len(x.shape) < at_least:
        raise ShapeError(f"{op}: x needs at least {at_least} axes; got shape {x.shape}")


def expect_ids(op: str, ids: Any, count: int, ignored: int | None = None) -> Array:
    """`ids` (array, Tensor or list) as an integer array whose every entry is in [0, count), or is `ignored`.

    Raises: DTypeError for floats or booleans, ShapeError for lists of unequal lengths, IdRangeError naming the first
    id outside the range and its position
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
