"""Reductions beyond sum, mean and variance: products, standard deviations, norms, and normalisation to norm 1."""

from __future__ import annotations

import math

import numpy as np

from tinygrad_llm.arrays import Array
from tinygrad_llm.errors import ConfigError
from tinygrad_llm.graph import Axis, Gradients, TensorLike, record_operation
from tinygrad_llm.primitives import maximum
from tinygrad_llm.primitives.operands import as_float, as_tensor, count_along, kept_shape, normalized_axes
from tinygrad_llm.tensor import Tensor


def prod(x: TensorLike, axis: Axis = None, keepdims: bool = False) -> Tensor:
    """z = Π x along `axis` (all axes if None);  dxᵢ = dz · Π x over the others.

    The product of the others comes from running products from both ends, not from z / xᵢ, so that zeros need no
    special case. The product of nothing is 1.

    Shapes: x (...) -> (...) without `axis`, or with 1 there if `keepdims`
    Saves:  x (...)
    Raises: ShapeError if x has no such axis
    """
    x = as_tensor(x)
    axes = normalized_axes("prod", axis, x.ndim)
    a, kept = x.data, kept_shape(x.shape, axes)

    def backward(dz: Array) -> Gradients:
        last = tuple(range(-len(axes), 0))
        moved = np.moveaxis(a, axes, last) if axes else a[..., None]
        count = count_along(a.shape, axes)
        rows = moved.reshape(a.size // max(count, 1), count)
        with np.errstate(over="ignore", invalid="ignore"):
            before, after = np.ones_like(rows), np.ones_like(rows)
            np.cumprod(rows[:, :-1], axis=1, out=before[:, 1:])
            np.cumprod(rows[:, :0:-1], axis=1, out=after[:, -2::-1])
            others = (before * after).reshape(moved.shape)
            others = np.moveaxis(others, last, axes) if axes else others[..., 0]
            return (dz.reshape(kept) * others,)

    with np.errstate(over="ignore", invalid="ignore"):
        return record_operation(np.asarray(a.prod(axis=axes, keepdims=keepdims)), (x,), backward)


def std(
    x: TensorLike, axis: Axis = None, keepdims: bool = False, correction: int = 1, unbiased: bool | None = None
) -> Tensor:
    """z = √(Σ (x - mean)² / (n - correction)) along `axis`;  dx = dz (x - mean) / ((n - correction) z).

    As in PyTorch, the default is the unbiased estimate of the variance (correction 1, Bessel's), and the gradient is 0
    where z is 0. NaN where n ≤ correction.

    Shapes: x (...) -> (...) without `axis`, or with 1 there if `keepdims`
    Saves:  x - mean (...), z
    Raises: ShapeError if x has no such axis
    """
    x = as_float(x)
    if unbiased is not None:
        correction = int(unbiased)
    axes = normalized_axes("std", axis, x.ndim)
    kept, count = kept_shape(x.shape, axes), count_along(x.shape, axes)
    divisor = np.asarray(max(count - correction, 0), x.dtype)  # an array: dividing by 0 gives NaN, and does not raise
    with np.errstate(invalid="ignore", divide="ignore"):
        centred = np.asarray(x.data - x.data.sum(axis=axes, keepdims=True) / np.asarray(count, x.dtype))
        z = np.asarray(np.sqrt((centred * centred).sum(axis=axes, keepdims=True) / divisor))

    def backward(dz: Array) -> Gradients:
        with np.errstate(invalid="ignore", divide="ignore"):
            return (centred * np.where(z == 0, 0, dz.reshape(kept) / (divisor * z)),)

    return record_operation(z if keepdims else z.squeeze(axes), (x,), backward)


def norm(x: TensorLike, p: float = 2.0, axis: Axis = None, keepdims: bool = False) -> Tensor:
    """z = (Σ |x|ᵖ)^(1/p) along `axis`: the p-norm;  dx = dz · sign(x) (|x| / z)^(p - 1).

    p = ±infinity is the largest (smallest) magnitude, whose ties share dz evenly; p = 0 counts the elements that are
    not 0, with gradient 0. As in PyTorch, the gradient is 0 where z is 0 and, for p = 1 and ±infinity, at a NaN. The
    magnitudes are divided by the largest before they are raised to a power: no square overflows or underflows.

    Shapes: x (...) -> (...) without `axis`, or with 1 there if `keepdims`
    Saves:  x (...), z
    Raises: ShapeError if x has no such axis, ConfigError if p is NaN
    """
    if math.isnan(p):
        raise ConfigError("norm: p must be a number; got NaN")
    x = as_float(x)
    axes = normalized_axes("norm", axis, x.ndim)
    a, kept = x.data, kept_shape(x.shape, axes)
    z = np.asarray(_norm(np.abs(a), float(p), axes), a.real.dtype)

    def backward(dz: Array) -> Gradients:
        dz = dz.reshape(kept)
        sizes, signs = np.abs(a), np.where(np.isnan(a), 0, np.sign(a))
        if p == 0:
            return (np.zeros_like(a),)
        with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
            if math.isinf(p):
                reached = (sizes == z) | (np.isnan(sizes) & np.isnan(z))
                shares = dz / reached.sum(axis=axes, keepdims=True)
                return (np.where(reached, signs * shares, 0),)
            slopes = signs if p == 1 else np.sign(a) * (sizes / z) ** (p - 1)
            at_kink = (z == 0) | ((sizes == 0) & (p < 2))  # not differentiable
            return (np.where(at_kink, 0, dz * slopes),)

    return record_operation(z if keepdims else z.squeeze(axes), (x,), backward)


def _norm(sizes: Array, p: float, axes: tuple[int, ...]) -> Array:
    if p == 0:
        return np.count_nonzero(sizes, axis=axes, keepdims=True)
    if math.isinf(p):
        if p < 0:
            return sizes.min(axis=axes, keepdims=True, initial=np.inf)
        return sizes.max(axis=axes, keepdims=True, initial=0)
    largest = sizes.max(axis=axes, keepdims=True, initial=0)
    largest = np.where((largest > 0) & np.isfinite(largest), largest, 1).astype(sizes.dtype, copy=False)
    with np.errstate(invalid="ignore", divide="ignore", over="ignore", under="ignore"):
        return np.asarray(((sizes / largest) ** p).sum(axis=axes, keepdims=True) ** (1 / p) * largest)


def normalize(x: TensorLike, p: float = 2.0, axis: int = -1, eps: float = 1e-12) -> Tensor:
    """y = x / max(‖x‖ₚ, eps) along `axis`: vectors of norm 1. A vector of zeros stays unchanged.

    Shapes: x (...) -> (...)
    Raises: as `norm`
    """
    x = as_float(x)
    return x / maximum(norm(x, p, axis, keepdims=True), eps)
