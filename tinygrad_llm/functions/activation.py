"""Activation functions beyond a GPT's: SiLU."""

from __future__ import annotations

import numpy as np

from tinygrad_llm import buffers
from tinygrad_llm.arrays import Array
from tinygrad_llm.graph import Gradients, TensorLike, is_grad_enabled, record_operation
from tinygrad_llm.ops.dispatch import fuses
from tinygrad_llm.ops.row_blocks import value_and_slope
from tinygrad_llm.primitives.operands import as_float
from tinygrad_llm.tensor import Tensor


def silu_composed(x: TensorLike) -> Tensor:
    """The definition: what `silu` must equal, gradients included."""
    x = as_float(x)
    return x * x.sigmoid()


@fuses(silu_composed)
def silu(x: TensorLike) -> Tensor:
    """The sigmoid linear unit, or swish (Elfwing et al. 2017, arXiv:1702.03118).

        y = x σ(x),  dx = dy σ (1 + x (1 - σ))

    Shapes: x (...) -> y (...)
    Saves:  dy/dx (...)
    """
    x = as_float(x)
    y, slope = value_and_slope(silu_block, x.data, x.requires_grad and is_grad_enabled())

    def backward(dy: Array) -> Gradients:
        return (np.multiply(dy, slope, out=buffers.empty_like(dy)),)

    return record_operation(y, (x,), backward)


def silu_block(x: Array, y: Array, slope: Array, scratch: Array) -> None:
    gate = np.negative(x, out=scratch[0])
    np.exp(gate, out=gate)
    gate += 1  # 1 / σ(x)
    np.divide(x, gate, out=y)
    if slope.size:
        np.subtract(x, y, out=slope)  # x (1 - σ)
        slope += 1
        slope /= gate
