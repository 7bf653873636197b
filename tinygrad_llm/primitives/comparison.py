"""Comparing elements, and choosing between them: comparisons carry no gradient, choices route it."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from tinygrad_llm.arrays import Array
from tinygrad_llm.errors import ConfigError, DTypeError, ShapeError
from tinygrad_llm.graph import Gradients, TensorLike, Variable, plain_tensor, record_operation
from tinygrad_llm.primitives.operands import as_tensor, beside, operands, unbroadcast, wanted_shape

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
        """z = max(x, y); the gradient goes to the larger one, half to each where they are equal."""
        return _extremum("maximum", np.maximum, np.greater, self, other)

    def minimum(self, other: TensorLike) -> Tensor:
        """z = min(x, y); the gradient goes to the smaller one, half to each where they are equal."""
        return _extremum("minimum", np.minimum, np.less, self, other)

    def clip(self, low: float | None = None, high: float | None = None) -> Tensor:
        """z = min(max(x, low), high);  dx = dz where low ≤ x ≤ high, else 0."""
        if low is not None and high is not None and low > high:
            raise ConfigError(f"clip: low must not exceed high; got {low} and {high}")
        inside = np.ones(self.shape, dtype=bool)
        if low is not None:
            inside &= self.data >= low
        if high is not None:
            inside &= self.data <= high

        def backward(dz: Array) -> Gradients:
            return (dz * inside,)

        return record_operation(np.clip(self.data, low, high), (self,), backward)

    def where(self, condition: TensorLike, other: TensorLike) -> Tensor:
        """z = x where the condition holds, else `other`: the function `where` as a method."""
        return where(condition, self, other)

    def masked_fill(self, mask: TensorLike, value: float) -> Tensor:
        """z = value where the mask holds, else x;  dx = 0 where it holds. The mask must broadcast to x's shape."""
        masked = as_condition("masked_fill", mask)
        try:
            masked = np.broadcast_to(masked, self.shape)
        except ValueError:
            raise ShapeError(
                f"masked_fill: the mask must broadcast to x's shape {self.shape}; got {masked.shape}"
            ) from None

        def backward(dz: Array) -> Gradients:
            return (np.where(masked, 0, dz),)

        filled = np.where(masked, np.asarray(value, dtype=self.dtype), self.data)
        return record_operation(filled, (self,), backward)


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

    return record_operation(z, (x, y), backward)


def maximum(x: TensorLike, y: TensorLike) -> Tensor:
    """`x.maximum(y)`, where x may be any array or number."""
    return beside(x, y).maximum(y)


def minimum(x: TensorLike, y: TensorLike) -> Tensor:
    """`x.minimum(y)`, where x may be any array or number."""
    return beside(x, y).minimum(y)


def as_condition(name: str, condition: TensorLike) -> Array:
    """`condition` as a boolean array. Raises DTypeError for anything else."""
    array = as_tensor(condition).data
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

    backward.__qualname__ = f"Comparison.{name}.<locals>.backward"
    return record_operation(choose(a, b), (x, y), backward)
