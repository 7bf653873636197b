"""The nonlinearities of feed-forward layers: GELU and SiLU.

Each saves its derivative instead of its input: forward has the ingredients in the cache anyway, and backward is then a
single product.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from tinygrad_llm import buffers
from tinygrad_llm.checks import expect_choice
from tinygrad_llm.ops.blocks import BLOCK_ELEMENTS
from tinygrad_llm.ops.dispatch import fuses
from tinygrad_llm.primitives.error_function import erf
from tinygrad_llm.primitives.operands import as_float
from tinygrad_llm.tensor import Array, Gradients, Tensor, TensorLike, is_grad_enabled, record

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
    Saves:  dy/dx (...)
    Raises: ConfigError if `approximate` is neither "none" nor "tanh"
    """
    expect_choice("gelu", "approximate", approximate, ("none", "tanh"))
    x = as_float(x)
    fill = _gelu_tanh_block if approximate == "tanh" else _gelu_exact_block
    y, slope = _in_blocks(fill, x)

    def backward(dy: Array) -> Gradients:
        return (np.multiply(dy, slope, out=buffers.empty_like(dy)),)

    return record(y, (x,), backward)


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
    y, slope = _in_blocks(_silu_block, x)

    def backward(dy: Array) -> Gradients:
        return (np.multiply(dy, slope, out=buffers.empty_like(dy)),)

    return record(y, (x,), backward)


def _in_blocks(fill: Callable[[Array, Array, Array, Array], None], x: Tensor) -> tuple[Array, Array]:
    """Values of an elementwise function, a cache-sized block at a time, and derivatives: none if no backward comes."""
    flat = x.data.reshape(-1)
    y = buffers.empty_like(flat)
    slope = buffers.empty_like(flat) if x.requires_grad and is_grad_enabled() else flat[:0]
    between = buffers.empty((2, min(flat.size, BLOCK_ELEMENTS)), flat.dtype)
    with np.errstate(over="ignore", under="ignore"):  # e⁻ᵘ may become infinite, and 1 / inf is the right 0
        for start in range(0, flat.size, BLOCK_ELEMENTS):
            block = slice(start, start + BLOCK_ELEMENTS)
            fill(flat[block], y[block], slope[block], between[:, : flat.size - start])
    return y.reshape(x.shape), slope.reshape(x.shape) if slope.size == x.size else slope


def _gelu_tanh_block(x: Array, y: Array, slope: Array, between: Array) -> None:
    square, gate = between
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


def _gelu_exact_block(x: Array, y: Array, slope: Array, between: Array) -> None:
    phi = erf(np.multiply(x, math.sqrt(0.5), out=between[0]))
    phi += 1
    phi *= 0.5
    np.multiply(x, phi, out=y)
    if slope.size:
        np.multiply(x, x, out=slope)
        slope *= -0.5
        np.exp(slope, out=slope)
        slope *= 1 / math.sqrt(2 * math.pi)  # φ(x)
        slope *= x
        slope += phi


def _silu_block(x: Array, y: Array, slope: Array, between: Array) -> None:
    gate = np.negative(x, out=between[0])
    np.exp(gate, out=gate)
    gate += 1  # 1 / σ(x)
    np.divide(x, gate, out=y)
    if slope.size:
        np.subtract(x, y, out=slope)  # x (1 - σ)
        slope += 1
        slope /= gate
