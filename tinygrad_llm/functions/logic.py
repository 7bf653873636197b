"""Predicates of elements, logical and bitwise operations, floor division; and the remainder, which has a gradient."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from tinygrad_llm.arrays import Array
from tinygrad_llm.errors import AnomalyError, DTypeError
from tinygrad_llm.graph import Axis, Gradients, TensorLike, record_operation
from tinygrad_llm.primitives.operands import as_tensor, normalized_axes, operands, unbroadcast, wanted_shape
from tinygrad_llm.tensor import Tensor


def isnan(x: TensorLike) -> Tensor:
    """True where an element is NaN.

    Shapes: x (...) -> (...) booleans
    """
    return Tensor(np.asarray(np.isnan(as_tensor(x).data)))


def isfinite(x: TensorLike) -> Tensor:
    """True where an element is neither infinite nor NaN.

    Shapes: x (...) -> (...) booleans
    """
    return Tensor(np.asarray(np.isfinite(as_tensor(x).data)))


def isinf(x: TensorLike) -> Tensor:
    """True where an element is infinite.

    Shapes: x (...) -> (...) booleans
    """
    return Tensor(np.asarray(np.isinf(as_tensor(x).data)))


def any(x: TensorLike, axis: Axis = None, keepdims: bool = False) -> Tensor:
    """Whether any element along `axis` is not 0 (NaN is not 0); False of nothing.

    Shapes: x (...) -> (...) booleans without `axis`, or with 1 there if `keepdims`
    Raises: ShapeError if x has no such axis
    """
    x = as_tensor(x)
    return Tensor(np.asarray(np.any(x.data, normalized_axes("any", axis, x.ndim), keepdims=keepdims)))


def all(x: TensorLike, axis: Axis = None, keepdims: bool = False) -> Tensor:
    """Whether all elements along `axis` are not 0 (NaN is not 0); True of nothing.

    Shapes: x (...) -> (...) booleans without `axis`, or with 1 there if `keepdims`
    Raises: ShapeError if x has no such axis
    """
    x = as_tensor(x)
    return Tensor(np.asarray(np.all(x.data, normalized_axes("all", axis, x.ndim), keepdims=keepdims)))


def bitwise_and(x: TensorLike, y: TensorLike) -> Tensor:
    """x & y, bit by bit: of booleans, whether both hold.

    Shapes: x (...), y (...) -> (...), broadcast
    Raises: DTypeError unless both are booleans or integers
    """
    return _bitwise("&", np.bitwise_and, x, y)


def bitwise_or(x: TensorLike, y: TensorLike) -> Tensor:
    """x | y, bit by bit: of booleans, whether at least one holds.

    Shapes: x (...), y (...) -> (...), broadcast
    Raises: DTypeError unless both are booleans or integers
    """
    return _bitwise("|", np.bitwise_or, x, y)


def bitwise_xor(x: TensorLike, y: TensorLike) -> Tensor:
    """x ^ y, bit by bit: of booleans, whether exactly one holds.

    Shapes: x (...), y (...) -> (...), broadcast
    Raises: DTypeError unless both are booleans or integers
    """
    return _bitwise("^", np.bitwise_xor, x, y)


def _bitwise(sign: str, ufunc: Callable[[Array, Array], Array], x: TensorLike, y: TensorLike) -> Tensor:
    x, y = operands(sign, x, y)
    for one in (x, y):
        if one.dtype.kind not in "biu":
            raise DTypeError(f"{sign}: both sides must be booleans or integers; got {one.dtype}; compare first")
    return Tensor(np.asarray(ufunc(x.data, y.data)))


def remainder(x: TensorLike, y: TensorLike) -> Tensor:
    """z = x % y = x - y ⌊x / y⌋, with the sign of y, as Python's;  dx = dz, dy = -dz ⌊x / y⌋. NaN for y = 0.

    Shapes: x (...), y (...) -> (...), broadcast
    Raises: ShapeError if the shapes do not broadcast, AnomalyError for integers and y = 0
    """
    x, y = operands("remainder", x, y)
    _refuse_integer_zero("remainder", y)
    a, b = x.data, y.data
    x_shape, y_shape = wanted_shape(x), wanted_shape(y)

    def backward(dz: Array) -> Gradients:
        with np.errstate(divide="ignore", invalid="ignore"):
            return (
                None if x_shape is None else unbroadcast(dz, x_shape),
                None if y_shape is None else unbroadcast(-dz * np.floor_divide(a, b), y_shape),
            )

    with np.errstate(divide="ignore", invalid="ignore"):
        return record_operation(np.remainder(a, b), (x, y), backward)


def floor_divide(x: TensorLike, y: TensorLike) -> Tensor:
    """⌊x / y⌋, as Python's x // y. The result requires no gradient: between its steps it is constant.

    Shapes: x (...), y (...) -> (...), broadcast
    Raises: ShapeError if the shapes do not broadcast, AnomalyError for integers and y = 0
    """
    x, y = operands("floor_divide", x, y)
    _refuse_integer_zero("floor_divide", y)
    with np.errstate(divide="ignore", invalid="ignore"):
        return Tensor(np.asarray(np.floor_divide(x.data, y.data)))


def _refuse_integer_zero(name: str, divisor: Tensor) -> None:
    if divisor.dtype.kind in "biu" and not np.all(divisor.data):
        raise AnomalyError(f"{name}: integers must not be divided by 0; got a divisor with a 0; use floats for NaN")
