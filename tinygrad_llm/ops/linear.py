"""The affine map: most of the arithmetic of a Transformer."""

from __future__ import annotations

import numpy as np

from tinygrad_llm import buffers
from tinygrad_llm.arrays import Array
from tinygrad_llm.checks import expect_axes, expect_shape
from tinygrad_llm.graph import Gradients, TensorLike, record_operation
from tinygrad_llm.ops.dispatch import fuses
from tinygrad_llm.ops.row_blocks import as_rows, row_blocks, sum_of_rows
from tinygrad_llm.primitives.operands import as_float, as_tensor
from tinygrad_llm.tensor import Tensor
from tinygrad_llm.versions import written_since

FEW_ROWS = 16  # for so few rows, W xᵀ is up to a quarter faster than x Wᵀ, since BLAS packs the weights at less cost
ROWS_ALONE = 8  # so few are multiplied one by one, up to 2.4 times faster yet, and each rounds as if it were alone


def linear_composed(x: TensorLike, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """The definition: what `linear` must equal, gradients included."""
    y = as_tensor(x) @ weight.T
    return y if bias is None else y + bias


@fuses(linear_composed)
def linear(x: TensorLike, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """y = x Wᵀ + b, the same for every row of x.

        dx = dy W,  dW = dyᵀ x,  db = Σ dy over the rows

    All leading axes are flattened into one, so that each product is one call into BLAS.

    Shapes: x (..., I), weight (O, I), bias (O,) -> y (..., O)
    Saves:  x, or the way to compute it again
    Raises: ShapeError if weight is not (O, I), or bias not (O,)
    """
    x, weight = as_float(x), as_tensor(weight)
    expect_axes("linear", x, 1)
    expect_shape("linear", x, (*weight.shape[:1], x.shape[-1]), weight=weight)
    expect_shape("linear", x, weight.shape[:1], bias=bias)
    rows, x_shape = as_rows(x.data), x.shape
    table, out_features, has_bias = weight.data, weight.shape[0], bias is not None
    y = times_table(rows, table)
    if bias is not None:
        y += bias.data
    node, recompute = x.node, None
    if node and node.arrays[-1] == id(x.data) and not written_since(x.data, node.order):  # x is what the node made
        recompute = node.recompute
    saved_x = (recompute or rows) if weight.requires_grad else None  # kept only if a gradient needs it
    saved_table = table if x.requires_grad else None

    def backward(dy: Array) -> Gradients:
        dy = as_rows(dy)
        dx = None if saved_table is None else buffers.matmul(dy, saved_table).reshape(x_shape)
        again = as_rows(saved_x()) if callable(saved_x) else saved_x
        dw = None if again is None else weight.gradient_of_product(dy, again)
        return (dx, dw, sum_of_rows(dy)) if has_bias else (dx, dw)

    parents = (x, weight) if bias is None else (x, weight, bias)
    return record_operation(y.reshape(*x_shape[:-1], out_features), parents, backward)


def times_table(rows: Array, table: Array) -> Array:
    """rows @ table.T, for few rows by another road. Shapes: rows (N, I), table (O, I) -> (N, O)"""
    if len(rows) > FEW_ROWS:
        return buffers.matmul(rows, table.T)
    if len(rows) <= ROWS_ALONE and table.dtype.kind == "f" and table.flags.c_contiguous:
        # One thread: with more, BLAS's wait for each other takes longer.
        blocks = row_blocks(len(table), table.shape[1] if len(rows) > 1 else 1)
        return np.concatenate([rows[:, :0], *(np.vecdot(table[i], rows[:, None]) for i in blocks)], axis=1)
    return np.ascontiguousarray(buffers.matmul(table, rows.T).T)
