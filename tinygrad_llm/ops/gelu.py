"""GELU, the activation function of GPT-2's feed-forward layers.

The backward of the layer behind it needs y again. A large y is then computed once more, with its derivative: that costs
1% of a training step and saves a quarter of its activations.
"""

from __future__ import annotations

import math

import numpy as np

from tinygrad_llm import buffers, graph, primitives
from tinygrad_llm.arrays import Array
from tinygrad_llm.checks import expect_choice
from tinygrad_llm.graph import Gradients, TensorLike, is_grad_enabled, record_operation
from tinygrad_llm.ops.dispatch import fuses
from tinygrad_llm.ops.row_blocks import value_and_slope
from tinygrad_llm.primitives.operands import as_float
from tinygrad_llm.tensor import Tensor

TANH_SCALE = math.sqrt(2 / math.pi)  # so that the slope at 0 is that of the exact GELU
TANH_CUBIC = 0.044715  # fitted by Hendrycks and Gimpel 2016, arXiv:1606.08415


def gelu_composed(x: TensorLike, approximate: str = "none") -> Tensor:
    """The definition: what `gelu` must equal, gradients included."""
    expect_choice("gelu", "approximate", approximate, ("none", "tanh"))
    x = as_float(x)
    if approximate == "tanh":
        return 0.5 * x * (1 + (TANH_SCALE * (x + TANH_CUBIC * x**3)).tanh())
    return 0.5 * x * (1 + (x * math.sqrt(0.5)).erf())


@fuses(gelu_composed)
def gelu(x: TensorLike, approximate: str = "none") -> Tensor:
    """The Gaussian error linear unit (Hendrycks and Gimpel 2016, arXiv:1606.08415).

        approximate="none":  y = x Φ(x),  dx = dy (Φ(x) + x φ(x))
        approximate="tanh":  y = ½ x (1 + tanh u) = x σ(2u),  u = √(2/π) (x + 0.044715 x³),
                             dx = dy σ (1 + x (1 - σ) 2u′)

    Φ and φ are the normal distribution and its density, σ the logistic function. The tanh form is GPT-2's; written
    with σ it needs one exponential, which NumPy computes faster than tanh.

    Shapes: x (...) -> y (...)
    Saves:  x (...); of a small x, the derivative of y with respect to x (...) instead
    Raises: ConfigError if `approximate` is neither "none" nor "tanh"
    """
    expect_choice("gelu", "approximate", approximate, ("none", "tanh"))
    x = as_float(x)
    fill = gelu_tanh_block if approximate == "tanh" else primitives.error_function.gelu_exact_block
    if x.size < graph.RECOMPUTED_FROM and x.requires_grad and is_grad_enabled():
        y, slope = value_and_slope(fill, x.data)
        return record_operation(y, (x,), lambda dy: (np.multiply(dy, slope, out=buffers.empty_like(slope)),))
    data, slopes = x.data, list[Array]()

    def recompute() -> Array:
        y, slope = value_and_slope(fill, data)
        slopes.append(slope)
        return y

    def backward(dy: Array) -> Gradients:
        slope = slopes.pop() if slopes else value_and_slope(fill, data)[1]
        return (np.multiply(dy, slope, out=slope),)

    return record_operation(value_and_slope(fill, data, False)[0], (x,), backward, recompute)


def gelu_tanh_block(x: Array, y: Array, slope: Array, scratch: Array) -> None:
    square, gate = scratch
    np.multiply(x, x, out=square)
    np.multiply(square, -2 * TANH_SCALE * TANH_CUBIC, out=gate)
    gate -= 2 * TANH_SCALE
    gate *= x  # -2u
    np.exp(gate, out=gate)
    gate += 1  # 1 / σ(2u)
    np.divide(x, gate, out=y)
    if slope.size:
        square *= 6 * TANH_SCALE * TANH_CUBIC
        square += 2 * TANH_SCALE  # 2u′
        np.subtract(x, y, out=slope)  # x (1 - σ)
        slope *= square
        slope += 1
        slope /= gate
