"""Process a large array in blocks of rows that stay in the cache.

An elementwise formula of ten NumPy passes over an array larger than the cache moves the array through memory ten
times. Over a block that fits the L2 cache, nine of those passes never leave it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

import numpy as np

from tinygrad_llm import buffers
from tinygrad_llm.arrays import Array

BLOCK_ELEMENTS = 1 << 16  # 64K float32 are 256 KB: a block and a few temporaries fit a common L2 cache


def as_rows(x: Array) -> Array:
    """x with its leading axes flattened (not by -1, which fails if C is 0). Shapes: (..., C) -> (rows, C)"""
    return x.reshape(math.prod(x.shape[:-1]), x.shape[-1])


def sum_of_rows(x: Array) -> Array:
    """The sum over rows, as a product, which is twice as fast as a reduction. Shapes: (rows, C) -> (C,)"""
    return np.ones(len(x), x.dtype) @ x


def row_blocks(rows: int, width: int) -> Iterator[slice]:
    """Slices that cover `rows` rows of `width` elements, each about BLOCK_ELEMENTS large."""
    step = _rows_of_a_block(width)
    return (slice(start, min(start + step, rows)) for start in range(0, rows, step))


def scratch_for_block(x: Array) -> Array:
    """Memory for intermediate results of one block of x's rows."""
    return buffers.empty((min(len(x), _rows_of_a_block(x.shape[-1])), x.shape[-1]), x.dtype)


def _rows_of_a_block(width: int) -> int:
    return max(1, BLOCK_ELEMENTS // max(1, width))


def value_and_slope(fill: Callable[..., None], x: Array, with_slope: bool = True) -> tuple[Array, Array]:
    """The values of an elementwise function of x, computed in blocks, and its derivatives; empty if not `with_slope`.

    `fill(x, y, slope, scratch)` writes one block of each; `scratch` (2, block) is memory for intermediate results.
    """
    flat = x.reshape(-1)
    y = buffers.empty_like(flat)
    slope = buffers.empty_like(flat) if with_slope else flat[:0]
    scratch = buffers.empty((2, min(flat.size, BLOCK_ELEMENTS)), flat.dtype)
    for start in range(0, flat.size, BLOCK_ELEMENTS):
        block = slice(start, start + BLOCK_ELEMENTS)
        fill(flat[block], y[block], slope[block], scratch[:, : flat.size - start])
    return y.reshape(x.shape), slope.reshape(x.shape) if slope.size == x.size else slope


def row_mean_of_product(a: Array, b: Array) -> Array:
    """The mean of a ⊙ b along each row, without storing the product. Shapes: (rows, C), (rows, C) -> (rows, 1)"""
    # vecdot conjugates its first argument, which only the complex numbers of a gradient check notice
    return np.vecdot(a.conj(), b)[:, None] * (1 / max(1, a.shape[-1]))
