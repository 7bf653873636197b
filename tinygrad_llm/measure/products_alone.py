"""The matrix products of a training step alone: their time is a lower bound of the step's.

for product in products_alone(flops(model, batch_size, tokens).products):
    product()
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from time import perf_counter
from typing import Any

import numpy as np

from tinygrad_llm.arrays import Array
from tinygrad_llm.ops.attention_tiles import QUERY_ROWS, TILE_SCORES
from tinygrad_llm.study.counting import ATTENTION, Product

PEAK_SIZE = 1024  # rows and columns of the square product that measures the machine's peak speed
PEAK_REPEATS = 10


def seconds_of(work: Callable[[], object]) -> float:
    """The time of one call."""
    started = perf_counter()
    work()
    return perf_counter() - started


def peak_speed() -> float:
    """Floating-point operations per second of a large square float32 product: the fastest of several."""
    a, b, out = (np.full((PEAK_SIZE, PEAK_SIZE), 0.5, np.float32) for _ in range(3))
    return 2 * PEAK_SIZE**3 / min(seconds_of(lambda: np.matmul(a, b, out=out)) for _ in range(PEAK_REPEATS))


def products_alone(products: list[Product]) -> Iterator[Callable[[], None]]:
    """Yields a function for each product of a forward: it computes the product and the two of its backward.

    Arrays have the shapes of the product's operands; products of the same shapes share theirs.
    """
    made: dict[tuple[Any, ...], Callable[[], None]] = {}
    for product in products:
        key = (product.operation == ATTENTION, product.factors, product.operands)
        if key not in made:
            made[key] = _attention_alone(product) if product.operation == ATTENTION else _linear_alone(product)
        yield made[key]


def _linear_alone(product: Product) -> Callable[[], None]:
    """y = x Wᵀ, dx = dy W and dW = dyᵀ x."""
    _, rows, inner, columns = product.factors
    x, dx, weight, dweight = (_small_numbers(n, inner) for n in (rows, rows, columns, columns))
    y = _small_numbers(rows, columns)

    def multiply() -> None:
        np.matmul(x, weight.T, out=y)
        np.matmul(y, weight, out=dx)
        np.matmul(y.T, x, out=dweight)

    return multiply


def _attention_alone(product: Product) -> Callable[[], None]:
    """The six products of attention, in blocks of queries and their visible keys, as the fused op computes them.

    Blocks on the diagonal include pairs that the causal mask hides; the count of operations does not.
    """
    query, key, value = product.operands
    *batch, heads, length, width = query
    count, sequences = key[-2], math.prod(batch)
    causal = product.factors[1] < sequences * heads * length * count
    rows_step = QUERY_ROWS if causal else length
    sequences_per_block = max(1, TILE_SCORES // (heads * min(rows_step, length) * count))
    q, dq = (_heads(sequences, heads, length, width) for _ in range(2))
    k, dk = (_heads(sequences, heads, count, width) for _ in range(2))
    v, dv = (_heads(sequences, heads, count, value[-1]) for _ in range(2))
    k_t, v_t = (
        _small_numbers(*x.swapaxes(-1, -2).shape) for x in (k, v)
    )  # as the fused op transposes them, once per call
    o = _heads(sequences, heads, length, value[-1])
    blocks = []
    for first in range(0, sequences, sequences_per_block):
        for stop in range(length, 0, -rows_step):
            rows = slice(max(stop - rows_step, 0), stop)
            seen = slice(0, stop + count - length if causal else count)
            at = slice(first, min(first + sequences_per_block, sequences))
            scores = _small_numbers(at.stop - at.start, heads, rows.stop - rows.start, seen.stop)
            of_queries = (x[at, :, rows] for x in (q, dq, o))
            of_keys = (x[at, :, seen] for x in (k, dk, v, dv))
            blocks.append((*of_queries, *of_keys, k_t[at, :, :, seen], v_t[at, :, :, seen], scores))

    def multiply() -> None:
        for q, dq, o, k, dk, v, dv, k_t, v_t, p in blocks:
            np.matmul(q, k_t, out=p)
            np.matmul(p, v, out=o)
            np.matmul(o, v_t, out=p)
            np.matmul(p, k, out=dq)
            np.matmul(p.swapaxes(-1, -2), q, out=dk)
            np.matmul(p.swapaxes(-1, -2), o, out=dv)

    return multiply


def _small_numbers(*shape: int) -> Array:
    """An array of small equal numbers, so that no product overflows."""
    return np.full(shape, 1e-3, np.float32)


def _heads(sequences: int, heads: int, length: int, width: int) -> Array:
    """(B, H, T, D), in memory as the projections leave it: tokens before heads."""
    return _small_numbers(sequences, length, heads, width).swapaxes(1, 2)
