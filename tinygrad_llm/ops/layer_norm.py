"""LayerNorm: normalise the features of each token."""

from __future__ import annotations

import numpy as np

from tinygrad_llm import buffers
from tinygrad_llm.arrays import Array
from tinygrad_llm.checks import expect_axes, expect_shape
from tinygrad_llm.graph import Gradients, TensorLike, record_operation
from tinygrad_llm.ops.dispatch import fuses
from tinygrad_llm.ops.row_blocks import as_rows, row_blocks, row_mean_of_product, scratch_for_block, sum_of_rows
from tinygrad_llm.primitives.operands import as_float, as_tensor
from tinygrad_llm.tensor import Tensor


def layer_norm_composed(x: TensorLike, weight: Tensor, bias: Tensor | None = None, eps: float = 1e-5) -> Tensor:
    """The definition: what `layer_norm` must equal, gradients included."""
    x = as_tensor(x)
    expect_axes("layer_norm", x, 1)
    centred = x - x.mean(axis=-1, keepdims=True)
    centred = centred - centred.mean(axis=-1, keepdims=True)  # the rounding error of the mean
    variance = (centred * centred).mean(axis=-1, keepdims=True)
    y = centred * (variance + eps) ** -0.5 * weight
    return y if bias is None else y + bias


@fuses(layer_norm_composed)
def layer_norm(x: TensorLike, weight: Tensor, bias: Tensor | None = None, eps: float = 1e-5) -> Tensor:
    """Normalise the last axis to mean 0 and variance 1, then scale and shift (Ba et al. 2016, arXiv:1607.06450).

        x̂ = (x - mean) · rstd,  rstd = 1/√(var + eps),  y = x̂ ⊙ weight + bias
        dx = rstd · (g - mean(g) - x̂ · mean(g ⊙ x̂)),  g = dy ⊙ weight

    `var` is the variance of the C numbers themselves (divided by C, not C - 1).

    Shapes: x (..., C), weight (C,), bias (C,) -> y (..., C)
    Saves:  x̂ (..., C), rstd (rows, 1)
    Raises: ShapeError if weight or bias is not (C,)
    """
    x, weight = as_float(x), as_tensor(weight)
    expect_axes("layer_norm", x, 1)
    expect_shape("layer_norm", x, x.shape[-1:], weight=weight, bias=bias)
    shape, width, scale, shift = x.shape, x.shape[-1], weight.data, 0.0 if bias is None else bias.data
    rows = as_rows(x.data)
    x_hat, y = buffers.empty_like(rows), buffers.empty_like(rows)
    rstd = np.empty((len(rows), 1), rows.dtype)
    ones = np.ones((width, 1), rows.dtype)  # row sums as a product, which is faster than a reduction
    for block in row_blocks(*rows.shape):
        hat, out = x_hat[block], y[block]
        np.subtract(rows[block], rows[block] @ ones / max(1, width), out=hat)
        hat -= hat @ ones / max(1, width)  # the rounding error of the mean, large where the rows share a large offset
        variance = row_mean_of_product(hat, hat)
        rstd[block] = (variance + eps) ** -0.5
        hat *= rstd[block]
        np.multiply(hat, scale, out=out)
        out += shift

    again = list[Array]()  # y, computed again for the several layers that may read it, until backward begins

    def recompute() -> Array:
        if not again:
            again.append(buffers.empty_like(x_hat))
            for block in row_blocks(*x_hat.shape):
                out = np.multiply(x_hat[block], scale, out=again[0][block])
                out += shift
        return again[0].reshape(shape)

    def backward(dy: Array) -> Gradients:
        again.clear()
        dy = as_rows(dy)
        dx = buffers.empty_like(dy)
        dweight, dbias = np.zeros(width, dy.dtype), np.zeros(width, dy.dtype)
        weight_share = scale[:, None] * (1 / max(1, width))
        projection = scratch_for_block(dy)
        for block in row_blocks(*dy.shape):
            hat, g, d = x_hat[block], dx[block], dy[block]
            np.multiply(d, hat, out=g)
            dbias += sum_of_rows(d)
            dweight += sum_of_rows(g)
            mean, along = d @ weight_share, g @ weight_share  # the means of dL/dx̂ and of dL/dx̂ ⊙ x̂
            np.multiply(d, scale, out=g)  # dL/dx̂; then, in place:
            g -= mean  # no gradient along the mean,
            g -= np.multiply(hat, along, out=projection[: len(hat)])  # none along x̂ itself
            g *= rstd[block]
        dx = dx.reshape(shape)
        return (dx, dweight) if bias is None else (dx, dweight, dbias)

    return record_operation(y.reshape(shape), (x, weight) if bias is None else (x, weight, bias), backward, recompute)
