"""Sums, products, quotients and powers, with broadcasting."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from tinygrad_llm import buffers
from tinygrad_llm.arrays import Array
from tinygrad_llm.errors import DTypeError, GraphError, ShapeError
from tinygrad_llm.graph import Gradients, TensorLike, is_grad_enabled, plain_tensor, record_operation
from tinygrad_llm.primitives.operands import as_float, as_tensor, beside, operands, unbroadcast, wanted_shape
from tinygrad_llm.variable import Variable
from tinygrad_llm.versions import mark_written

if TYPE_CHECKING:
    from tinygrad_llm.tensor import Tensor


class Arithmetic(Variable):
    """`x + y`, `x - y`, `x * y`, `x / y`, `x ** y`, `-x`, with the reflected and the in-place forms."""

    __slots__ = ()

    @np.errstate(all="ignore")
    def add(self, other: TensorLike) -> Tensor:
        """z = x + y;  dx = dz, dy = dz."""
        x, y = operands("add", self, other)
        x_shape, y_shape = wanted_shape(x), wanted_shape(y)

        def backward(dz: Array) -> Gradients:
            return (
                None if x_shape is None else unbroadcast(dz, x_shape),
                None if y_shape is None else unbroadcast(dz, y_shape),
            )

        return record_operation(buffers.add(x.data, y.data), (x, y), backward)

    __add__ = add

    @np.errstate(all="ignore")
    def sub(self, other: TensorLike) -> Tensor:
        """z = x - y;  dx = dz, dy = -dz."""
        x, y = operands("sub", self, other)
        if x.dtype.kind == "b":  # as for every other operation on booleans: they count as 0 and 1
            x, y = plain_tensor(x.data.astype(np.int64)), plain_tensor(y.data.astype(np.int64))
        x_shape, y_shape = wanted_shape(x), wanted_shape(y)

        def backward(dz: Array) -> Gradients:
            return (
                None if x_shape is None else unbroadcast(dz, x_shape),
                None if y_shape is None else unbroadcast(np.negative(dz), y_shape),
            )

        return record_operation(x.data - y.data, (x, y), backward)

    __sub__ = sub

    @np.errstate(all="ignore")
    def mul(self, other: TensorLike) -> Tensor:
        """z = x ⊙ y;  dx = dz ⊙ y, dy = dz ⊙ x."""
        x, y = operands("mul", self, other)
        x_shape, y_shape = wanted_shape(x), wanted_shape(y)
        a = None if y_shape is None else x.data  # kept only if a gradient needs it
        b = None if x_shape is None else y.data

        def backward(dz: Array) -> Gradients:
            return (
                None if x_shape is None or b is None else unbroadcast(dz * b, x_shape),
                None if y_shape is None or a is None else unbroadcast(dz * a, y_shape),
            )

        return record_operation(x.data * y.data, (x, y), backward)

    __mul__ = mul

    @np.errstate(all="ignore")
    def div(self, other: TensorLike) -> Tensor:
        """z = x / y;  dx = dz / y, dy = -dz ⊙ x / y². Division by zero follows IEEE 754: infinity or NaN."""
        x, y = operands("div", self, other, to_float=True)
        x_shape, y_shape = wanted_shape(x), wanted_shape(y)
        a, b = None if y_shape is None else x.data, y.data

        def backward(dz: Array) -> Gradients:
            return (
                None if x_shape is None else unbroadcast(dz / b, x_shape),
                None if y_shape is None or a is None else unbroadcast(-dz * (a / b / b), y_shape),
            )

        return record_operation(x.data / b, (x, y), backward)

    __truediv__ = div

    def neg(self) -> Tensor:
        """z = -x;  dx = -dz."""
        if self.dtype.kind == "b":
            raise DTypeError("neg: booleans have no negative; negate them with `~x`")

        def backward(dz: Array) -> Gradients:
            return (np.negative(dz),)

        return record_operation(-self.data, (self,), backward)

    __neg__ = neg

    @np.errstate(all="ignore")
    def pow(self, exponent: TensorLike) -> Tensor:
        """z = xʸ;  dx = dz ⊙ y xʸ⁻¹, dy = dz ⊙ z ln x.

        Where x is 0, dy is 0 for y ≥ 0, the limit of xʸ ln x, and -infinity below; where y is 0, dx is 0.
        """
        base, power = operands("pow", self, exponent)
        if base.dtype.kind in "biu" and np.any(power.data < 0):
            base, power = as_float(base), as_float(power)
        a, b = base.data, power.data
        x_shape, y_shape = wanted_shape(base), wanted_shape(power)

        def backward(dz: Array) -> Gradients:
            dx = dy = None
            if x_shape is not None:
                flat = b == 0  # x⁰ is 1 everywhere, at x = 0 too
                dx = unbroadcast(np.where(flat, 0, dz * b * a ** np.where(flat, 1, b - 1)), x_shape)
            if y_shape is not None:
                dy = unbroadcast(np.where((a == 0) & (b.real >= 0), 0, dz * a**b * np.log(a)), y_shape)
            return dx, dy

        return record_operation(a**b, (base, power), backward)

    __pow__ = pow

    # -- reflected: NumPy arrays and Python numbers on the left

    def __radd__(self, other: TensorLike) -> Tensor:
        return beside(other, self).add(self)

    def __rsub__(self, other: TensorLike) -> Tensor:
        return beside(other, self).sub(self)

    def __rmul__(self, other: TensorLike) -> Tensor:
        return beside(other, self).mul(self)

    def __rtruediv__(self, other: TensorLike) -> Tensor:
        return beside(other, self).div(self)

    def __rpow__(self, other: TensorLike) -> Tensor:
        return beside(other, self).pow(self)

    # -- in place

    def __iadd__(self, other: TensorLike) -> Tensor:  # type: ignore[misc]  # mypy: the alias above
        return _write(np.add, Arithmetic.add, self, other)

    def __isub__(self, other: TensorLike) -> Tensor:  # type: ignore[misc]  # mypy: the alias above
        return _write(np.subtract, Arithmetic.sub, self, other)

    def __imul__(self, other: TensorLike) -> Tensor:  # type: ignore[misc]  # mypy: the alias above
        return _write(np.multiply, Arithmetic.mul, self, other)

    def __itruediv__(self, other: TensorLike) -> Tensor:  # type: ignore[misc]  # mypy: the alias above
        return _write(np.true_divide, Arithmetic.div, self, other)


def refuse_recorded_write(target: Variable, *sources: TensorLike) -> None:
    """Raises GraphError if the graph would miss a write: into, or from, a Tensor that requires a gradient."""
    if is_grad_enabled() and (target.requires_grad or any(map(_requires_grad, sources))):
        raise GraphError(
            "an in-place write must not touch a Tensor that requires a gradient, nor take its values from one: the "
            "graph does not record writes; write `x = x + y` in place of `x += y`, choose with `where`, or update a "
            "parameter under no_grad()"
        )


def _requires_grad(value: TensorLike) -> bool:
    return isinstance(value, Variable) and value.requires_grad


def _write(ufunc: Callable[..., Array], operation: Callable[..., Tensor], x: Variable, other: TensorLike) -> Tensor:
    """`x op= other`: written into x where nothing is recorded, else `operation(x, other)`, to which the name is bound.

    So `loss += f(x)` adds up a computed loss. A leaf that collects a gradient is refused while recording.
    """
    if is_grad_enabled() and not x.collects_gradient and (x.requires_grad or _requires_grad(other)):
        return operation(x, other)
    refuse_recorded_write(x, other)
    _, y = operands(ufunc.__name__, x, other)
    if np.broadcast_shapes(x.shape, y.shape) != x.shape:
        raise ShapeError(
            f"in-place {ufunc.__name__}: the operand must broadcast to {x.shape}, which stays; got {y.shape}"
        )
    try:
        with np.errstate(all="ignore"):
            ufunc(x.data, y.data, out=x.data, casting="same_kind")
    except TypeError:
        raise DTypeError(
            f"in-place {ufunc.__name__}: the result must fit {x.dtype}; got an operand of {y.dtype}"
        ) from None
    mark_written(x.data)
    return as_tensor(x)
