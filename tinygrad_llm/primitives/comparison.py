"""Comparing elements, and choosing between them: the results of the first carry no gradient, the second route it."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from tinygrad_llm.errors import ConfigError, DTypeError, ShapeError
from tinygrad_llm.primitives.operands import operands, unbroadcast, wanted_shape
from tinygrad_llm.tensor import Array, Gradients, Tensor, TensorLike, as_tensor, record, tensor_method


def _comparison(name: str, ufunc: Callable[[Array, Array], Array]) -> None:
    def compare(x: Tensor, other: TensorLike) -> Tensor:
        x, y = operands(name, x, other)
        return Tensor(np.asarray(ufunc(x.data, y.data)))

    tensor_method(name)(compare)


_comparison("__eq__", np.equal)
_comparison("__ne__", np.not_equal)
_comparison("__lt__", np.less)
_comparison("__le__", np.less_equal)
_comparison("__gt__", np.greater)
_comparison("__ge__", np.greater_equal)


@tensor_method("__invert__")
def logical_not(x: Tensor) -> Tensor:
    """¬x, for a boolean Tensor."""
    return Tensor(~as_condition("~", x))


def as_condition(name: str, condition: TensorLike) -> Array:
    """`condition` as a boolean array. Raises DTypeError for anything else."""
    array = as_tensor(condition).data
    if array.dtype.kind != "b":
        raise DTypeError(f"{name}: the condition must be boolean; got {array.dtype}; compare first, as in `x > 0`")
    return array


@tensor_method("maximum")
def maximum(x: TensorLike, y: TensorLike) -> Tensor:
    """z = max(x, y); the gradient goes to the larger one, half to each where they are equal."""
    return _extremum("maximum", np.maximum, np.greater, x, y)


@tensor_method("minimum")
def minimum(x: TensorLike, y: TensorLike) -> Tensor:
    """z = min(x, y); the gradient goes to the smaller one, half to each where they are equal."""
    return _extremum("minimum", np.minimum, np.less, x, y)


def _extremum(
    name: str,
    choose: Callable[[Array, Array], Array],
    wins: Callable[[Array, Array], Array],
    x: TensorLike,
    y: TensorLike,
) -> Tensor:
    x, y = operands(name, x, y)
    a, b = x.data, y.data
    x_shape, y_shape = wanted_shape(x), wanted_shape(y)

    def backward(dz: Array) -> Gradients:
        half = np.where(a == b, dz * 0.5, 0)
        return (
            None if x_shape is None else unbroadcast(np.where(wins(a, b), dz, half), x_shape),
            None if y_shape is None else unbroadcast(np.where(wins(b, a), dz, half), y_shape),
        )

    backward.__qualname__ = f"{name}.<locals>.backward"
    return record(choose(a, b), (x, y), backward)


@tensor_method("clip")
def clip(x: TensorLike, low: float | None = None, high: float | None = None) -> Tensor:
    """z = min(max(x, low), high);  dx = dz where low ≤ x ≤ high, else 0."""
    if low is not None and high is not None and low > high:
        raise ConfigError(f"clip: low must not exceed high; got {low} and {high}")
    x = as_tensor(x)
    inside = np.ones(x.shape, dtype=bool)
    if low is not None:
        inside &= x.data >= low
    if high is not None:
        inside &= x.data <= high

    def backward(dz: Array) -> Gradients:
        return (dz * inside,)

    return record(np.clip(x.data, low, high), (x,), backward)


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

    return record(z, (x, y), backward)


@tensor_method("where")
def _where_method(x: Tensor, condition: TensorLike, other: TensorLike) -> Tensor:
    return where(condition, x, other)


@tensor_method("masked_fill")
def masked_fill(x: TensorLike, mask: TensorLike, value: float) -> Tensor:
    """z = value where the mask holds, else x;  dx = 0 where it holds. The mask must broadcast to x's shape."""
    x = as_tensor(x)
    masked = as_condition("masked_fill", mask)
    try:
        masked = np.broadcast_to(masked, x.shape)
    except ValueError:
        raise ShapeError(f"masked_fill: the mask must broadcast to x's shape {x.shape}; got {masked.shape}") from None

    def backward(dz: Array) -> Gradients:
        return (np.where(masked, 0, dz),)

    return record(np.where(masked, np.asarray(value, dtype=x.dtype), x.data), (x,), backward)
