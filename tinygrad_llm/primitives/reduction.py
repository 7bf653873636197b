"""Reductions: sums, means, variances, extrema, logsumexp; and the running sum."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from tinygrad_llm.arrays import Array
from tinygrad_llm.errors import ShapeError
from tinygrad_llm.graph import Axis, Gradients, plain_tensor, record_operation
from tinygrad_llm.primitives.operands import (
    as_float,
    count_along,
    kept_shape,
    normalized_axes,
    normalized_axis,
)
from tinygrad_llm.variable import Variable

if TYPE_CHECKING:
    from tinygrad_llm.tensor import Tensor


class Reduction(Variable):
    """sum, mean, var, max, min, logsumexp, cumsum, argmax."""

    __slots__ = ()

    def sum(self, axis: Axis = None, keepdims: bool = False) -> Tensor:
        """z = Σ x along `axis` (all axes where None);  every element that was summed gets dz."""
        axes = normalized_axes("sum", axis, self.ndim)
        shape, kept = self.shape, kept_shape(self.shape, axes)

        def backward(dz: Array) -> Gradients:
            return (np.broadcast_to(dz.reshape(kept), shape),)

        with np.errstate(all="ignore"):
            return record_operation(self.data.sum(axis=axes, keepdims=keepdims), (self,), backward)

    def mean(self, axis: Axis = None, keepdims: bool = False) -> Tensor:
        """z = Σ x / n along `axis`;  every element gets dz / n. The mean of nothing is NaN."""
        x = as_float(self)
        axes = normalized_axes("mean", axis, x.ndim)
        shape, kept, count = x.shape, kept_shape(x.shape, axes), count_along(x.shape, axes)

        def backward(dz: Array) -> Gradients:
            return (np.broadcast_to((dz / max(count, 1)).reshape(kept), shape),)

        with np.errstate(all="ignore"):
            return record_operation(
                np.asarray(x.data.sum(axis=axes, keepdims=keepdims) / _divisor(x, count)), (x,), backward
            )

    def var(
        self, axis: Axis = None, keepdims: bool = False, correction: int = 1, unbiased: bool | None = None
    ) -> Tensor:
        """z = Σ (x - mean)² / (n - correction) along `axis`;  dx = dz · 2 (x - mean) / (n - correction).

        As in PyTorch, the default is the unbiased estimate (correction 1, Bessel's); `correction=0`, or
        `unbiased=False`, is the variance of the numbers themselves. NaN where n ≤ correction.
        """
        x = as_float(self)
        if unbiased is not None:
            correction = int(unbiased)
        axes = normalized_axes("var", axis, x.ndim)
        count = count_along(x.shape, axes)
        kept, divisor = kept_shape(x.shape, axes), _divisor(x, max(count - correction, 0))
        with np.errstate(all="ignore"):
            centred = np.asarray(x.data - x.data.sum(axis=axes, keepdims=True) / _divisor(x, count))
            centred = centred - centred.sum(axis=axes, keepdims=True) / _divisor(x, count)  # minus its rounding error
            z = np.asarray((centred * centred).sum(axis=axes, keepdims=keepdims) / divisor)

        def backward(dz: Array) -> Gradients:
            return (centred * (dz * 2 / divisor).reshape(kept),)

        return record_operation(z, (x,), backward)

    def max(self, axis: Axis = None, keepdims: bool = False) -> Tensor:
        """z = the largest element along `axis`; elements that tie for it share dz evenly.

        If an element is NaN, so is z, and the NaNs share dz, as in PyTorch.
        """
        return _extreme("max", np.max, self, axis, keepdims)

    def min(self, axis: Axis = None, keepdims: bool = False) -> Tensor:
        """z = the smallest element along `axis`; elements that tie for it share dz evenly.

        If an element is NaN, so is z, and the NaNs share dz, as in PyTorch.
        """
        return _extreme("min", np.min, self, axis, keepdims)

    def logsumexp(self, axis: Axis = None, keepdims: bool = False) -> Tensor:
        """z = ln Σ eˣ along `axis`, shifted by the largest x so that nothing overflows;  dx = dz · e^(x - z).

        The logsumexp of nothing, and of elements that are all -infinity, is -infinity (with gradient 0).
        """
        x = as_float(self)
        axes = normalized_axes("logsumexp", axis, x.ndim)
        kept = kept_shape(x.shape, axes)
        shift = np.asarray(np.max(x.data.real, axis=axes, keepdims=True, initial=-np.inf))
        shift[~np.isfinite(shift)] = 0
        with np.errstate(all="ignore"):
            powers = np.asarray(np.exp(x.data - shift))
            total = np.asarray(powers.sum(axis=axes, keepdims=True))
            z = np.asarray(np.log(total) + shift)

        def backward(dz: Array) -> Gradients:
            return (powers * (dz.reshape(kept) / np.where(total == 0, 1, total)),)

        return record_operation(z if keepdims else np.squeeze(z, axes), (x,), backward)

    def cumsum(self, axis: int) -> Tensor:
        """zₜ = x₀ + … + xₜ along `axis`;  dxₜ = dzₜ + dzₜ₊₁ + …, the running sum from the other end."""
        if not self.ndim and axis in (0, -1):  # one number is its own running sum
            return self.sum()
        axis = normalized_axis("cumsum", axis, self.ndim)

        def backward(dz: Array) -> Gradients:
            return (np.flip(np.flip(dz, axis).cumsum(axis), axis),)

        with np.errstate(all="ignore"):
            z = self.data.cumsum(axis, dtype=self.dtype if self.dtype.kind in "fc" else None)
        return record_operation(z, (self,), backward)

    def argmax(self, axis: int | None = None, keepdims: bool = False) -> Tensor:
        """The position of the (first) largest element along `axis`, as integers; positions have no gradient."""
        axes = normalized_axes("argmax", axis, self.ndim)
        if not count_along(self.shape, axes):
            raise ShapeError(f"argmax: needs at least one element along {axes}; got shape {self.shape}")
        return plain_tensor(np.argmax(self.data, axis=axis, keepdims=keepdims))


def _divisor(x: Tensor, count: int) -> Array:
    """`count` in x's dtype: an array, so that dividing by 0 gives NaN instead of raising."""
    return np.asarray(count, dtype=x.dtype)


def _extreme(name: str, reduce: Callable[..., Array], x: Variable, axis: Axis, keepdims: bool) -> Tensor:
    """The largest or smallest element along `axis`, by `reduce`."""
    axes = normalized_axes(name, axis, x.ndim)
    kept = kept_shape(x.shape, axes)
    if not count_along(x.shape, axes):
        raise ShapeError(f"{name}: needs at least one element along {axes}; got shape {x.shape}")
    with np.errstate(invalid="ignore"):
        chosen = np.asarray(reduce(x.data, axis=axes, keepdims=True))
    is_chosen = (x.data == chosen) | ((chosen != chosen) & (x.data != x.data))  # only NaN differs from itself

    def backward(dz: Array) -> Gradients:
        count = is_chosen.sum(axis=axes, keepdims=True, dtype=dz.dtype)
        return (np.where(is_chosen, dz.reshape(kept) / count, 0),)

    backward.__qualname__ = f"Reduction.{name}.<locals>.backward"
    return record_operation(chosen if keepdims else np.squeeze(chosen, axes), (x,), backward)
