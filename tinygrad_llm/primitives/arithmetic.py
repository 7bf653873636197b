"""Sums, products, quotients and powers, with broadcasting."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from tinygrad_llm import buffers
from tinygrad_llm.errors import DTypeError, GraphError, ShapeError
from tinygrad_llm.primitives.operands import as_float, operands, unbroadcast, wanted_shape
from tinygrad_llm.tensor import Array, Gradients, Tensor, TensorLike, as_tensor, is_grad_enabled, record, tensor_method


@tensor_method("__add__")
def add(x: TensorLike, y: TensorLike) -> Tensor:
    """z = x + y;  dx = dz, dy = dz."""
    x, y = operands("add", x, y)
    x_shape, y_shape = wanted_shape(x), wanted_shape(y)

    def backward(dz: Array) -> Gradients:
        return (
            None if x_shape is None else unbroadcast(dz, x_shape),
            None if y_shape is None else unbroadcast(dz, y_shape),
        )

    return record(buffers.add(x.data, y.data), (x, y), backward)


@tensor_method("__sub__")
def sub(x: TensorLike, y: TensorLike) -> Tensor:
    """z = x - y;  dx = dz, dy = -dz."""
    x, y = operands("sub", x, y)
    if x.dtype.kind == "b":  # as for every other operation on booleans: they count as 0 and 1
        x, y = Tensor(x.data.astype(np.int64)), Tensor(y.data.astype(np.int64))
    x_shape, y_shape = wanted_shape(x), wanted_shape(y)

    def backward(dz: Array) -> Gradients:
        return (
            None if x_shape is None else unbroadcast(dz, x_shape),
            None if y_shape is None else unbroadcast(np.negative(dz), y_shape),
        )

    return record(x.data - y.data, (x, y), backward)


@tensor_method("__mul__")
def mul(x: TensorLike, y: TensorLike) -> Tensor:
    """z = x ⊙ y;  dx = dz ⊙ y, dy = dz ⊙ x."""
    x, y = operands("mul", x, y)
    a, b = x.data, y.data
    x_shape, y_shape = wanted_shape(x), wanted_shape(y)

    def backward(dz: Array) -> Gradients:
        return (
            None if x_shape is None else unbroadcast(dz * b, x_shape),
            None if y_shape is None else unbroadcast(dz * a, y_shape),
        )

    return record(a * b, (x, y), backward)


@tensor_method("__truediv__")
def div(x: TensorLike, y: TensorLike) -> Tensor:
    """z = x / y;  dx = dz / y, dy = -dz ⊙ x / y². Division by zero follows IEEE 754: infinity or NaN."""
    x, y = operands("div", x, y, to_float=True)
    a, b = x.data, y.data
    x_shape, y_shape = wanted_shape(x), wanted_shape(y)

    def backward(dz: Array) -> Gradients:
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
            return (
                None if x_shape is None else unbroadcast(dz / b, x_shape),
                None if y_shape is None else unbroadcast(-dz * a / (b * b), y_shape),
            )

    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        return record(a / b, (x, y), backward)


@tensor_method("__neg__")
def neg(x: TensorLike) -> Tensor:
    """z = -x;  dx = -dz."""
    x = as_tensor(x)

    def backward(dz: Array) -> Gradients:
        return (np.negative(dz),)

    return record(-x.data, (x,), backward)


@tensor_method("__pow__")
def pow(x: TensorLike, exponent: TensorLike) -> Tensor:
    """z = xʸ;  dx = dz ⊙ y xʸ⁻¹, dy = dz ⊙ z ln x (0 where x is 0, as the limit of xʸ ln x for y > 0)."""
    base, power = operands("pow", x, exponent)
    if base.dtype.kind in "biu" and np.any(power.data < 0):
        base, power = as_float(base), as_float(power)
    a, b = base.data, power.data
    x_shape, y_shape = wanted_shape(base), wanted_shape(power)
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        z = a**b

    def backward(dz: Array) -> Gradients:
        dx = dy = None
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
            if x_shape is not None:
                slope = np.where(b == 0, 0, b * a ** np.where(b == 0, 1, b - 1))  # x⁰ is flat, at x = 0 too
                dx = unbroadcast(dz * slope, x_shape)
            if y_shape is not None:
                dy = unbroadcast(dz * a**b * np.log(np.where(a == 0, 1, a)), y_shape)
        return dx, dy

    return record(z, (base, power), backward)


@tensor_method("__radd__")
def _reflected_add(x: Tensor, other: TensorLike) -> Tensor:
    return add(other, x)


@tensor_method("__rsub__")
def _reflected_sub(x: Tensor, other: TensorLike) -> Tensor:
    return sub(other, x)


@tensor_method("__rmul__")
def _reflected_mul(x: Tensor, other: TensorLike) -> Tensor:
    return mul(other, x)


@tensor_method("__rtruediv__")
def _reflected_div(x: Tensor, other: TensorLike) -> Tensor:
    return div(other, x)


@tensor_method("__rpow__")
def _reflected_pow(x: Tensor, other: TensorLike) -> Tensor:
    return pow(other, x)


def refuse_recorded_write(target: Tensor, *sources: TensorLike) -> None:
    """Writing in place is for plain arrays: a recorded one is what its graph will read on the way back."""
    recorded = target.node is not None or (is_grad_enabled() and target.requires_grad)
    if recorded or any(isinstance(source, Tensor) and source.requires_grad for source in sources):
        raise GraphError(
            "an in-place write must not touch a recorded Tensor, whose values backward still needs; "
            "write `x = x + y` instead of `x += y`, or update a parameter under no_grad()"
        )


def _in_place(ufunc: Callable[..., Array]) -> Callable[[Tensor, TensorLike], Tensor]:
    def write(x: Tensor, other: TensorLike) -> Tensor:
        refuse_recorded_write(x, other)
        _, y = operands(ufunc.__name__, x, other)
        if np.broadcast_shapes(x.shape, y.shape) != x.shape:
            raise ShapeError(
                f"in-place {ufunc.__name__}: the operand must broadcast to {x.shape}, which stays; got {y.shape}"
            )
        try:
            ufunc(x.data, y.data, out=x.data, casting="same_kind")
        except TypeError:
            raise DTypeError(
                f"in-place {ufunc.__name__}: the result must fit {x.dtype}; got an operand of {y.dtype}"
            ) from None
        return x

    return write


tensor_method("__iadd__")(_in_place(np.add))
tensor_method("__isub__")(_in_place(np.subtract))
tensor_method("__imul__")(_in_place(np.multiply))
tensor_method("__itruediv__")(_in_place(np.true_divide))
