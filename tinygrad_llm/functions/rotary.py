"""Rotation of pairs of features by an angle: rotary positions (RoPE)."""

from __future__ import annotations

import numpy as np

from tinygrad_llm import buffers
from tinygrad_llm.arrays import Array
from tinygrad_llm.errors import ShapeError
from tinygrad_llm.graph import Gradients, TensorLike, record_operation
from tinygrad_llm.ops.dispatch import fuses
from tinygrad_llm.primitives import cat
from tinygrad_llm.primitives.operands import as_float
from tinygrad_llm.tensor import Tensor


def rotate_composed(x: TensorLike, cos: Array, sin: Array) -> Tensor:
    """The definition: what `rotate` must equal, gradients included."""
    x = as_float(x)
    cos, sin = _angles_like(x, cos, sin)
    half = x.shape[-1] // 2
    first, second = x[..., :half], x[..., half:]
    return cat([first * cos - second * sin, second * cos + first * sin], axis=-1)


@fuses(rotate_composed)
def rotate(x: TensorLike, cos: Array, sin: Array) -> Tensor:
    """Rotate each pair of features i and i + D/2 as a vector in the plane (Su et al. 2021, arXiv:2104.09864).

        y₁ = x₁ cos - x₂ sin,  y₂ = x₂ cos + x₁ sin          x₁ and x₂ the first and second half of the features
        dx₁ = dy₁ cos + dy₂ sin,  dx₂ = dy₂ cos - dy₁ sin    rotated back by the same angle

    Which features form a pair is a convention; this one is Hugging Face's, "rotate half". Angles have no gradient.

    Shapes: x (..., D), D even; cos, sin (..., D/2), broadcast to x's -> y (..., D)
    Saves:  cos, sin
    Raises: ShapeError for an odd D, or angles that do not broadcast to x
    """
    x = as_float(x)
    cos, sin = _angles_like(x, cos, sin)

    def turned(a: Array, sin: Array) -> Array:
        half = a.shape[-1] // 2
        first, second = a[..., :half], a[..., half:]
        y = buffers.empty(a.shape, a.dtype)
        np.multiply(first, cos, out=y[..., :half])
        y[..., :half] -= second * sin
        np.multiply(second, cos, out=y[..., half:])
        y[..., half:] += first * sin
        return y

    def backward(dy: Array) -> Gradients:
        return (turned(dy, -sin),)

    return record_operation(turned(x.data, sin), (x,), backward)


def _angles_like(x: Tensor, cos: Array, sin: Array) -> tuple[Array, Array]:
    """Both in x's dtype; every shape checked."""
    cos, sin = np.asarray(cos), np.asarray(sin)
    if x.ndim < 1 or x.shape[-1] % 2:
        raise ShapeError(f"rotate: x must be (..., D) with an even D, for features turn in pairs; got {x.shape}")
    pairs = (*x.shape[:-1], x.shape[-1] // 2)
    try:
        fits = np.broadcast_shapes(cos.shape, sin.shape, pairs) == pairs
    except ValueError:
        fits = False
    if not fits:
        raise ShapeError(f"rotate: cos and sin must broadcast to {pairs}; got {cos.shape} and {sin.shape}")
    if x.dtype.kind == "c":
        return cos, sin
    return cos.astype(x.dtype, copy=False), sin.astype(x.dtype, copy=False)
