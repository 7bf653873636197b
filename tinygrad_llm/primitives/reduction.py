"""Many numbers into one: sums, means, variances, extrema, and the running sum."""

from __future__ import annotations

import numpy as np

from tinygrad_llm.errors import ShapeError
from tinygrad_llm.primitives.operands import as_float, count_along, kept_shape, normalized_axes, normalized_axis
from tinygrad_llm.tensor import Array, Axis, Gradients, Tensor, TensorLike, as_tensor, record, tensor_method


@tensor_method("sum")
def sum(x: TensorLike, axis: Axis = None, keepdims: bool = False) -> Tensor:
    """z = Σ x along `axis` (all axes where None);  every element that was summed gets dz."""
    x = as_tensor(x)
    axes = normalized_axes("sum", axis, x.ndim)
    shape, kept = x.shape, kept_shape(x.shape, axes)

    def backward(dz: Array) -> Gradients:
        return (np.broadcast_to(dz.reshape(kept), shape),)

    return record(np.asarray(x.data.sum(axis=axes, keepdims=keepdims)), (x,), backward)


@tensor_method("mean")
def mean(x: TensorLike, axis: Axis = None, keepdims: bool = False) -> Tensor:
    """z = Σ x / n along `axis`;  every element gets dz / n. The mean of nothing is NaN."""
    x = as_float(x)
    axes = normalized_axes("mean", axis, x.ndim)
    shape, kept, count = x.shape, kept_shape(x.shape, axes), count_along(x.shape, axes)

    def backward(dz: Array) -> Gradients:
        return (np.broadcast_to((dz / max(count, 1)).reshape(kept), shape),)

    with np.errstate(invalid="ignore"):
        return record(np.asarray(x.data.sum(axis=axes, keepdims=keepdims) / _divisor(x, count)), (x,), backward)


@tensor_method("var")
def var(
    x: TensorLike, axis: Axis = None, keepdims: bool = False, correction: int = 1, unbiased: bool | None = None
) -> Tensor:
    """z = Σ (x - mean)² / (n - correction) along `axis`;  dx = dz · 2 (x - mean) / (n - correction).

    As in PyTorch, the default is the unbiased estimate (correction 1, Bessel's); `correction=0`, or `unbiased=False`,
    is the variance of the numbers themselves. NaN where n ≤ correction.
    """
    x = as_float(x)
    if unbiased is not None:
        correction = int(unbiased)
    axes = normalized_axes("var", axis, x.ndim)
    count = count_along(x.shape, axes)
    kept, divisor = kept_shape(x.shape, axes), _divisor(x, max(count - correction, 0))
    with np.errstate(invalid="ignore", divide="ignore"):
        centred = np.asarray(x.data - x.data.sum(axis=axes, keepdims=True) / _divisor(x, count))
        z = np.asarray((centred * centred).sum(axis=axes, keepdims=keepdims) / divisor)

    def backward(dz: Array) -> Gradients:
        with np.errstate(invalid="ignore", divide="ignore"):
            return (centred * (dz * 2 / divisor).reshape(kept),)

    return record(z, (x,), backward)


def _divisor(x: Tensor, count: int) -> Array:
    """`count` in x's dtype: an array, so that dividing by 0 gives NaN instead of raising."""
    return np.asarray(count, dtype=x.dtype)


@tensor_method("max")
def max_(x: TensorLike, axis: Axis = None, keepdims: bool = False) -> Tensor:
    """z = the largest element along `axis`; elements that tie for it share dz evenly."""
    x = as_tensor(x)
    axes = normalized_axes("max", axis, x.ndim)
    kept = kept_shape(x.shape, axes)
    if not count_along(x.shape, axes):
        raise ShapeError(f"max: needs at least one element along {axes}; got shape {x.shape}")
    largest = np.asarray(x.data.max(axis=axes, keepdims=True))
    is_largest = x.data == largest

    def backward(dz: Array) -> Gradients:
        share = is_largest.sum(axis=axes, keepdims=True)
        return (np.where(is_largest, dz.reshape(kept) / share, 0),)

    return record(largest if keepdims else np.squeeze(largest, axes), (x,), backward)


@tensor_method("min")
def min_(x: TensorLike, axis: Axis = None, keepdims: bool = False) -> Tensor:
    """z = the smallest element along `axis`: the largest of the negatives."""
    return -max_(-as_tensor(x), axis, keepdims)


@tensor_method("logsumexp")
def logsumexp(x: TensorLike, axis: Axis = None, keepdims: bool = False) -> Tensor:
    """z = ln Σ eˣ along `axis`, shifted by the largest x so that nothing overflows;  dx = dz · e^(x - z).

    The logsumexp of nothing, and of elements that are all -infinity, is -infinity (with gradient 0).
    """
    x = as_float(x)
    axes = normalized_axes("logsumexp", axis, x.ndim)
    kept = kept_shape(x.shape, axes)
    shift = np.asarray(np.max(x.data.real, axis=axes, keepdims=True, initial=-np.inf))
    shift[~np.isfinite(shift)] = 0
    with np.errstate(over="ignore", divide="ignore"):
        powers = np.asarray(np.exp(x.data - shift))
        total = np.asarray(powers.sum(axis=axes, keepdims=True))
        z = np.asarray(np.log(total) + shift)

    def backward(dz: Array) -> Gradients:
        with np.errstate(invalid="ignore"):
            return (powers * (dz.reshape(kept) / np.where(total == 0, 1, total)),)

    return record(z if keepdims else np.squeeze(z, axes), (x,), backward)


@tensor_method("cumsum")
def cumsum(x: TensorLike, axis: int) -> Tensor:
    """zₜ = x₀ + … + xₜ along `axis`;  dxₜ = dzₜ + dzₜ₊₁ + …, the running sum from the other end."""
    x = as_tensor(x)
    axis = normalized_axis("cumsum", axis, x.ndim)

    def backward(dz: Array) -> Gradients:
        return (np.flip(np.flip(dz, axis).cumsum(axis), axis),)

    return record(x.data.cumsum(axis, dtype=x.dtype if x.dtype.kind in "fc" else None), (x,), backward)


@tensor_method("argmax")
def argmax(x: TensorLike, axis: int | None = None, keepdims: bool = False) -> Tensor:
    """The position of the (first) largest element along `axis`, as integers; positions have no gradient."""
    x = as_tensor(x)
    axes = normalized_axes("argmax", axis, x.ndim)
    if not count_along(x.shape, axes):
        raise ShapeError(f"argmax: needs at least one element along {axes}; got shape {x.shape}")
    return Tensor(np.asarray(np.argmax(x.data, axis=axis, keepdims=keepdims)))
