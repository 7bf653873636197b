"""The matrix product, batched and broadcast as NumPy does it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from tinygrad_llm.arrays import Array
from tinygrad_llm.errors import ShapeError
from tinygrad_llm.graph import Gradients, TensorLike, record_operation
from tinygrad_llm.primitives.operands import as_tensor, operands_of_one_dtype, unbroadcast, wanted_shape
from tinygrad_llm.variable import Variable

if TYPE_CHECKING:
    from tinygrad_llm.tensor import Tensor


class Matmul(Variable):
    """`x @ y`."""

    __slots__ = ()

    @np.errstate(all="ignore")
    def matmul(self, other: TensorLike) -> Tensor:
        """z = x y;  dx = dz yᵀ, dy = xᵀ dz.

        A vector on the left is a row, on the right a column, and its axis is left out of the result.

        Shapes: x (..., N, K), y (..., K, M) -> (..., N, M), the leading axes broadcast
        Raises: ShapeError if the inner sizes differ, the leading axes do not broadcast, or an operand is 0-d.
        """
        x, y = operands_of_one_dtype(self, other)
        a, b = x.data, y.data
        if not a.ndim or not b.ndim:
            raise ShapeError(f"matmul: operands need at least one axis; got {a.shape} and {b.shape}; use * for numbers")
        rows = a[None, :] if a.ndim == 1 else a
        columns = b[:, None] if b.ndim == 1 else b
        if rows.shape[-1] != columns.shape[-2]:
            raise ShapeError(
                f"matmul: the last axis of x must match the last but one of y; got {a.shape} and {b.shape}"
            )
        try:
            leading = np.broadcast_shapes(rows.shape[:-2], columns.shape[:-2])
        except ValueError:
            raise ShapeError(f"matmul: the leading axes must broadcast; got {a.shape} and {b.shape}") from None
        x_shape, y_shape = wanted_shape(x), wanted_shape(y)
        rows_shape, columns_shape = rows.shape, columns.shape
        full_shape = (*leading, rows_shape[-2], columns_shape[-1])
        saved_rows = None if y_shape is None else rows  # kept only if a gradient needs it
        saved_columns = None if x_shape is None else columns

        def backward(dz: Array) -> Gradients:
            dz = dz.reshape(full_shape)
            dx = dy = None
            if x_shape is not None and saved_columns is not None:
                dx = unbroadcast(dz @ saved_columns.swapaxes(-1, -2), rows_shape).reshape(x_shape)
            if y_shape is not None and saved_rows is not None:
                dy = unbroadcast(saved_rows.swapaxes(-1, -2) @ dz, columns_shape).reshape(y_shape)
            return dx, dy

        return record_operation(a @ b, (x, y), backward)

    __matmul__ = matmul

    def __rmatmul__(self, other: TensorLike) -> Tensor:
        return as_tensor(other).matmul(self)
