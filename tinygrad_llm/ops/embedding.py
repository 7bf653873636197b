"""Embedding: look up one row of a table per token id."""

from __future__ import annotations

from typing import Any

import numpy as np

from tinygrad_llm import buffers
from tinygrad_llm.arrays import Array
from tinygrad_llm.checks import expect_ids
from tinygrad_llm.errors import ShapeError
from tinygrad_llm.graph import Gradients, mode, record_operation
from tinygrad_llm.ops.dispatch import fuses
from tinygrad_llm.primitives.operands import as_tensor
from tinygrad_llm.tensor import Tensor


def embedding_composed(ids: Any, weight: Tensor) -> Tensor:
    """The definition: what `embedding` must equal, gradients included."""
    weight = as_tensor(weight)
    return weight[expect_ids("embedding", ids, len(weight))]


@fuses(embedding_composed)
def embedding(ids: Any, weight: Tensor) -> Tensor:
    """y = weight[ids]: the row of each id.

        dweight[i] = Σ dy over every place where i was looked up

    Backward sorts the ids, so that equal ids are adjacent, and sums the rows of each run. If the table has a gradient
    already, such as that of a tied head, the sums are added to its rows.

    Shapes: ids (...) integers, weight (V, C) -> y (..., C)
    Saves:  ids (...)
    Raises: ShapeError if weight is no matrix, DTypeError for ids that are not integers, IdRangeError for ids outside
            [0, V)
    """
    weight = as_tensor(weight)
    if weight.ndim != 2:
        raise ShapeError(f"embedding: weight must be (V, C); got {weight.shape}")
    table_shape = weight.shape
    rows = expect_ids("embedding", ids, table_shape[0]).reshape(-1).astype(np.intp)  # a copy, which backward reads
    y = weight.data[rows]

    def backward(dy: Array) -> Gradients:
        order = np.argsort(rows, kind="stable")
        in_order, grouped = rows[order], dy.reshape(rows.size, table_shape[1])[order]
        starts = np.flatnonzero(np.diff(in_order, prepend=-1))
        found, stops = in_order[starts], np.append(starts[1:], rows.size)
        sums, ones = grouped[starts], np.ones(rows.size, dy.dtype)
        for i in np.flatnonzero(stops - starts > 1).tolist():
            # a product per run: `np.add.reduceat` takes four times as long
            np.matmul(ones[starts[i] : stops[i]], grouped[starts[i] : stops[i]], out=sums[i])
        has_gradient = weight.grad is not None or hasattr(weight, "grad_memory")
        if has_gradient and weight.collects_gradient and not mode.observers:
            weight.collect(sums, found)  # without a second array as large as the table
            return (None,)
        dweight = buffers.zeros(table_shape, dy.dtype)
        dweight[found] = sums
        return (dweight,)

    shape = np.shape(ids.data if isinstance(ids, Tensor) else ids)
    return record_operation(y.reshape(*shape, table_shape[1]), (weight,), backward)
