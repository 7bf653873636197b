"""Normalisations beyond a GPT's: RMSNorm, and LayerNorm without a weight or over several axes."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from tinygrad_llm import buffers, ops
from tinygrad_llm.arrays import Array
from tinygrad_llm.checks import expect_axes, expect_shape
from tinygrad_llm.errors import ShapeError
from tinygrad_llm.graph import Gradients, TensorLike, record_operation
from tinygrad_llm.ops.dispatch import fuses
from tinygrad_llm.ops.row_blocks import as_rows, row_blocks, row_mean_of_product, scratch_for_block, sum_of_rows
from tinygrad_llm.primitives.operands import as_float, as_tensor
from tinygrad_llm.tensor import Tensor


def rms_norm_composed(x: TensorLike, weight: Tensor, eps: float = 1e-5) -> Tensor:
    """The definition: what `rms_norm` must equal, gradients included."""
    x = as_tensor(x)
    expect_axes("rms_norm", x, 1)
    return x * ((x * x).mean(axis=-1, keepdims=True) + eps) ** -0.5 * weight


@fuses(rms_norm_composed)
def rms_norm(x: TensorLike, weight: Tensor, eps: float = 1e-5) -> Tensor:
    """Divide the last axis by its root mean square, then scale (Zhang and Sennrich 2019, arXiv:1910.07467).

        x̂ = x · r,  r = 1/√(mean(x²) + eps),  y = x̂ ⊙ weight
        dx = r · (g - x̂ · mean(g ⊙ x̂)),  g = dy ⊙ weight

    Shapes: x (..., C), weight (C,) -> y (..., C)
    Saves:  x̂ (..., C), r (rows, 1)
    Raises: ShapeError if weight is not (C,)
    """
    x, weight = as_float(x), as_tensor(weight)
    expect_axes("rms_norm", x, 1)
    expect_shape("rms_norm", x, x.shape[-1:], weight=weight)
    shape, width, scale = x.shape, x.shape[-1], weight.data
    rows = as_rows(x.data)
    x_hat, y = buffers.empty_like(rows), buffers.empty_like(rows)
    reciprocal = np.empty((len(rows), 1), rows.dtype)
    for block in row_blocks(*rows.shape):
        reciprocal[block] = (row_mean_of_product(rows[block], rows[block]) + eps) ** -0.5
        np.multiply(rows[block], reciprocal[block], out=x_hat[block])
        np.multiply(x_hat[block], scale, out=y[block])

    def backward(dy: Array) -> Gradients:
        dy = as_rows(dy)
        dx = buffers.empty_like(dy)
        dweight = np.zeros(width, dy.dtype)
        weight_share = scale[:, None] * (1 / max(1, width))
        projection = scratch_for_block(dy)
        for block in row_blocks(*dy.shape):
            hat, g, d = x_hat[block], dx[block], dy[block]
            np.multiply(d, hat, out=g)
            dweight += sum_of_rows(g)
            along = g @ weight_share  # the mean of dL/dx̂ ⊙ x̂
            np.multiply(d, scale, out=g)  # dL/dx̂
            g -= np.multiply(hat, along, out=projection[: len(hat)])
            g *= reciprocal[block]
        return dx.reshape(shape), dweight

    return record_operation(y.reshape(shape), (x, weight), backward)


def layer_norm(
    x: TensorLike,
    normalized_shape: int | Sequence[int],
    weight: TensorLike | None = None,
    bias: TensorLike | None = None,
    eps: float = 1e-5,
) -> Tensor:
    """Mean 0 and variance 1 over the last axes together, then scale and shift if given (Ba et al. 2016).

    The axes are flattened into one for the core's `layer_norm`, whose backward applies.

    Shapes: x (..., *normalized_shape), weight and bias normalized_shape -> as x
    Saves:  as the core's `layer_norm`
    Raises: ShapeError if x does not end in normalized_shape, or weight or bias has another shape
    """
    x = as_float(x)
    axes = (normalized_shape,) if isinstance(normalized_shape, int | np.integer) else tuple(normalized_shape)
    if not axes or len(axes) > x.ndim or x.shape[x.ndim - len(axes) :] != axes:
        raise ShapeError(f"layer_norm: x must end in normalized_shape {axes}, of one axis or more; got {x.shape}")
    scale = Tensor(np.ones(axes, x.dtype)) if weight is None else as_tensor(weight)
    shift = None if bias is None else as_tensor(bias)
    for name, one in (("weight", scale), ("bias", shift)):
        if one is not None and one.shape != axes:
            raise ShapeError(f"layer_norm: {name} must have normalized_shape {axes}; got {one.shape}")
    width = math.prod(axes)
    rows = x.reshape(*x.shape[: x.ndim - len(axes)], width)
    y = ops.layer_norm(rows, scale.reshape(width), None if shift is None else shift.reshape(width), eps)
    return y.reshape(x.shape)
