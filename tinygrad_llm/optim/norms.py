"""Norms of gradients beyond the usual case: other exponents than 2, and squares that overflow or vanish.

Loaded on first use.
"""

from __future__ import annotations

import math

import numpy as np

from tinygrad_llm.arrays import Array
from tinygrad_llm.checks import expect_number
from tinygrad_llm.optim.clipping import sum_of_squares


def p_norm(gradients: list[Array], p: float) -> float:
    """(Σ |g|ᵖ)^(1/p) over all gradients; the largest magnitude where p is infinity."""
    if p != math.inf:
        expect_number("clip_grad_norm_", "norm_type", p, low=1e-3)
    sizes = [np.abs(gradient, dtype=np.float64) for gradient in gradients if gradient.size]
    if p == math.inf:
        return float(np.max([size.max() for size in sizes], initial=0.0))
    return float(sum(float((size**p).sum()) for size in sizes) ** (1 / p))


def norm_of_extremes(gradients: list[Array]) -> float:
    """The norm where squares overflow or vanish, as those of float32 do above 1e19 and below 1e-22.

    Dividing by the largest magnitude first makes every square at most 1.
    """
    largest = max([float(np.abs(gradient).max()) for gradient in gradients if gradient.size], default=0.0)
    if any(np.isnan(gradient).any() for gradient in gradients):
        return math.nan
    if largest == 0.0 or largest == math.inf:
        return largest
    return largest * math.sqrt(sum(sum_of_squares(gradient.astype(np.float64) / largest) for gradient in gradients))
