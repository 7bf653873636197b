"""Comparing elements, and choosing between them: comparisons carry no gradient, choices route it."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from tinygrad_llm import buffers, primitives
from tinygrad_llm.arrays import Array, as_array
from tinygrad_llm.errors import ConfigError, DTypeError, ShapeError
from tinygrad_llm.graph import Gradients, TensorLike, plain_tensor, record_operation
from tinygrad_llm.primitives.operands import beside, operands, unbroadcast, wanted_shape
from tinygrad_llm.variable import Variable

if TYPE_CHECKING:
    from tinygrad_llm.tensor import Tensor


class Comparison(Variable):
    """`==`, `<` and the others, `~`, and maximum, minimum, clip, where, masked_fill."""

    __slots__ = ()

    def __eq__(self, other: TensorLike) -> Tensor:  # type: ignore[override]
        return _compare("==", np.equal, self, other)

    def __ne__(self, other: TensorLike) -> Tensor:  # type: ignore[override]
        return _compare("!=", np.not_equal, self, other)

    def __lt__(self, other: TensorLike) -> Tensor:
        return _compare("<", np.less, self, other)

    def __le__(self, other: TensorLike) -> Tensor:
        return _compare("<=", np.less_equal, self, other)

    def __gt__(self, other: TensorLike) -> Tensor:
        return _compare(">", np.greater, self, other)

    def __ge__(self, other: TensorLike) -> Tensor:
        return _compare(">=", np.greater_equal, self, other)

    __hash__ = object.__hash__  # `==` compares elements, so identity is what a set or dict must use

    def __invert__(self) -> Tensor:
        """¬x, for a boolean Tensor."""
        return plain_tensor(~as_condition("~", self))

    def maximum(self, other: TensorLike) -> Tensor:
        """z = max(x, y);  dz goes to the larger one, half to each where they are equal.

        Where either is NaN, z is NaN and both get dz, as in PyTorch.
        """
        return _extremum("maximum", np.maximum, np.less, self, other)

    def minimum(self, other: TensorLike) -> Tensor:
        """z = min(x, y);  dz goes to the smaller one, half to each where they are equal.

        Where either is NaN, z is NaN and both get dz, as in PyTorch.
        """
        return _extremum("minimum", np.minimum, np.greater, self, other)

    def clip(self, low: TensorLike | None = None, high: TensorLike | None = None) -> Tensor:
        """z = min(max(x, low), high);  dx = dz where low ≤ x ≤ high, else 0: dz then goes to the bound.

        Bounds are numbers, or arrays and Tensors that broadcast to x's shape. NaN passes its gradient on, so that the
        cause of a NaN can be found; PyTorch stops it there. Raises: ConfigError for numbers with low > high
        """
        if isinstance(low, int | float) and isinstance(high, int | float) and low > high:
            raise ConfigError(f"clip: low must not exceed high; got {low} and {high}")
        bounds = [None if bound is None else _bound(self, bound) for bound in (low, high)]
        z = self.data if bounds[0] is None else np.maximum(self.data, bounds[0].data)
        is_below = np.less(self.data, z)
        is_above = np.zeros(self.shape, bool)
        if bounds[1] is not None:
            is_above = np.greater(z, bounds[1].data)
            z = np.minimum(z, bounds[1].data)
        at_low, at_high = is_below & ~is_above, is_above
        given = [(bound, at) for bound, at in zip(bounds, (at_low, at_high), strict=True) if bound is not None]
        shapes = [(wanted_shape(bound), at) for bound, at in given]

        def backward(dz: Array) -> Gradients:
            dx = buffers.select(~(at_low | at_high), dz)
            return (
                dx,
                *(None if shape is None else unbroadcast(buffers.select(at, dz), shape) for shape, at in shapes),
            )

        return record_operation(np.array(z), (self, *(bound for bound, _ in given)), backward)

    def where(self, condition: TensorLike, other: TensorLike) -> Tensor:
        """z = x where the condition holds, else `other`: the function `where` as a method."""
        return primitives.where(condition, self, other)

    def masked_fill(self, mask: TensorLike, value: TensorLike) -> Tensor:
        """z = value where the mask holds, else x;  dx = 0 where it holds, and dz goes to `value`.

        The mask and the value must broadcast to x's shape.
        """
        chosen = as_condition("masked_fill", mask)
        filling = _bound(self, value, "masked_fill: the value")
        try:
            chosen = np.broadcast_to(chosen, self.shape)
        except ValueError:
            raise ShapeError(
                f"masked_fill: the mask must broadcast to x's shape {self.shape}; got {chosen.shape}"
            ) from None
        x_shape, value_shape = wanted_shape(self), wanted_shape(filling)

        def backward(dz: Array) -> Gradients:
            return (
                None if x_shape is None else buffers.select(~chosen, dz),
                None if value_shape is None else unbroadcast(buffers.select(chosen, dz), value_shape),
            )

        return record_operation(np.where(chosen, filling.data, self.data), (self, filling), backward)


def _bound(x: Variable, value: TensorLike, what: str = "clip: a bound") -> Tensor:
    """`value` in x's dtype, checked to broadcast to x's shape."""
    bound = beside(value, x)
    if bound.dtype.kind == "c" and x.dtype.kind != "c":
        raise DTypeError(f"{what} must be real, as x of dtype {x.dtype} is; got {bound.dtype}")
    try:
        fits = np.broadcast_shapes(bound.shape, x.shape) == x.shape
    except ValueError:
        fits = False
    if not fits:
        raise ShapeError(f"{what} must broadcast to x's shape {x.shape}; got {bound.shape}")
    return bound if bound.dtype == x.dtype or x.dtype.kind not in "fc" else bound.astype(x.dtype)


def as_condition(name: str, condition: TensorLike) -> Array:
    """`condition` as a boolean array, a copy where it is no Tensor, since backward may read it. Raises DTypeError."""
    array = condition.data if isinstance(condition, Variable) else np.array(as_array(condition))
    if array.dtype.kind != "b":
        raise DTypeError(f"{name}: the condition must be boolean; got {array.dtype}; compare first, as in `x > 0`")
    return array


def _compare(symbol: str, ufunc: Callable[[Array, Array], Array], x: TensorLike, y: TensorLike) -> Tensor:
    """Whether each pair of elements is in the relation `symbol`: booleans, without a gradient."""
    x, y = operands(symbol, x, y)
    return plain_tensor(ufunc(x.data, y.data))


def _extremum(
    name: str,
    choose: Callable[[Array, Array], Array],
    loses: Callable[[Array, Array], Array],
    x: TensorLike,
    y: TensorLike,
) -> Tensor:
    x, y = operands(name, x, y)
    a, b = x.data, y.data
    x_shape, y_shape = wanted_shape(x), wanted_shape(y)

    def backward(dz: Array) -> Gradients:
        shared = np.where(a == b, dz * 0.5, dz)
        return (
            None if x_shape is None else unbroadcast(buffers.select(~loses(a, b), shared), x_shape),
            None if y_shape is None else unbroadcast(buffers.select(~loses(b, a), shared), y_shape),
        )

    backward.__qualname__ = f"Comparison.{name}.<locals>.backward"
    return record_operation(choose(a, b), (x, y), backward)
