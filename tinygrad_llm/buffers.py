"""A pool of memory for large arrays: a block whose array has died is used again for the next array of about its size.

A new large array is slow: the operating system hands its memory out page by page at the first touch, zeroed, and takes
it back when the array dies. A training step makes arrays of the same sizes as the step before.

The invariant: a block is either in the pool's list of free blocks or under exactly one array. It returns to the list in
the callback of a weak reference to that array, which CPython calls when the array is deallocated. Every view holds the
array, directly or through other views, so nothing can read the memory any more, and nobody has to count references.

There is no lock. `deque.pop` and `deque.append` are single steps, which no other thread, signal handler or garbage
collection can interrupt: whoever takes a block has it alone. Signal handlers and child processes may allocate too.
"""

from __future__ import annotations

import math
import os
import weakref
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from tinygrad_llm.arrays import Array

SMALLEST = 1 << 17  # bytes: the C library serves smaller arrays quickly from memory that it keeps
ALIGNMENT = 64  # bytes, one cache line: NumPy's vector loops take twice as long for numbers that straddle two
STEPS = 8  # sizes of blocks between a power of two and the next
LARGER_SIZES = 4  # how many sizes above its own a request may be served from: up to 1.5 times as many bytes
SLACK = 0.03  # free and used blocks together may exceed the most bytes ever in use at once by this share


class PooledMemory(np.ndarray[Any, np.dtype[Any]]):
    """One block of bytes. Its type differs from that of the array over it, so NumPy makes that array the base of views
    instead of the block.
    """

    start: int  # the offset of the first byte at a multiple of ALIGNMENT
    size_class: int  # its size in bytes, without the bytes for alignment


class _Loan(weakref.ref[Array]):
    """A weak reference to the array over a block; the block returns to the pool when that array is deallocated."""

    __slots__ = ("block",)
    block: PooledMemory


_loans: dict[int, _Loan] = {}  # one for each block in use, by the id of the block: a weak reference must be kept alive
_free: dict[int, deque[PooledMemory]] = {}  # by size class
_peak_bytes = 0  # the most bytes that were in use at once
multiply: Callable[..., Array] = np.matmul  # of two matrices; in a `products_in_threads` block that of its threads


def empty(shape: Sequence[int], dtype: Any) -> Array:
    """An uninitialised array, as `np.empty`; a large one uses a block of the pool."""
    dtype = np.dtype(dtype)
    size = math.prod(shape) * dtype.itemsize
    if size < SMALLEST:
        return np.empty(shape, dtype)
    block = _take_block(size)
    array: Array = np.ndarray(shape, dtype, block, block.start)
    loan = _Loan(array, _return_block)
    loan.block = block
    _loans[id(block)] = loan
    return array


def empty_like(x: Array) -> Array:
    """`empty` with x's shape and dtype."""
    return empty(x.shape, x.dtype)


def zeros(shape: Sequence[int], dtype: Any) -> Array:
    """`empty`, filled with zeros."""
    x = empty(shape, dtype)
    x.fill(0)
    return x


def copy(x: Array) -> Array:
    """A copy of x, in C order."""
    y = empty_like(x)
    y[...] = x
    return y


def matmul(a: Array, b: Array, out: Array | None = None) -> Array:
    """a @ b for two matrices, in `out` or in memory of the pool. Shapes: a (N, K), b (K, M) -> (N, M)"""
    return multiply(a, b, out=empty((a.shape[0], b.shape[1]), np.result_type(a, b)) if out is None else out)


def add(a: Array, b: Array) -> Array:
    """a + b, in memory of the pool for two large arrays of one shape and dtype."""
    if a.nbytes < SMALLEST or a.shape != b.shape or a.dtype != b.dtype:
        return np.asarray(a + b)
    return np.add(a, b, out=empty_like(a))


def select(mask: Array, x: Array) -> Array:
    """x where `mask` holds, else 0: `np.where(mask, x, 0)` in an eighth of its time where the mask is random.

    The bits of x are combined with a mask of all ones or all zeros: infinity and NaN are selected, not multiplied.

    Shapes: mask (...) booleans, x (...) -> (...)
    """
    if x.dtype.kind != "f" or x.dtype.itemsize > 8 or mask.shape != x.shape:
        return np.where(mask, x, np.zeros((), x.dtype))
    selected = empty(x.shape, x.dtype)
    bits = selected.view(f"i{x.dtype.itemsize}")
    np.negative(mask.view(np.int8), out=bits)  # 0, or -1, which is all ones
    np.bitwise_and(x.view(bits.dtype), bits, out=bits)
    return selected


def is_view(x: Array) -> bool:
    """Whether x uses another array's memory."""
    return not (x.flags.owndata or isinstance(x.base, PooledMemory))


def memory_owner(x: Array) -> Array:
    """The array that x is a view of, at the end of the chain of views; x itself if it is none."""
    while isinstance(x.base, np.ndarray) and not isinstance(x.base, PooledMemory):
        x = x.base
    return x


def _take_block(size: int) -> PooledMemory:
    """A free block of at least `size` bytes, and at most 1.5 times as many, or a new one."""
    step = (1 << size.bit_length() - 1) // STEPS
    smallest = -(-size // step) * step
    for size_class in range(smallest, smallest + (LARGER_SIZES + 1) * step, step):
        blocks = _free.get(size_class)
        if blocks:
            try:
                return blocks.pop()  # the most recent: the likeliest to be in the cache
            except IndexError:  # another thread, or a signal handler, was quicker
                pass
    _drop_free_blocks(smallest)
    block = PooledMemory(smallest + ALIGNMENT, np.uint8)
    block.start, block.size_class = -block.ctypes.data % ALIGNMENT, smallest
    return block


def _return_block(loan: _Loan) -> None:
    """The array over the block has been deallocated: put the block back into the pool."""
    block = loan.block
    _loans.pop(id(block), None)
    _free.setdefault(block.size_class, deque()).append(block)


def _drop_free_blocks(size: int) -> None:
    """Give free blocks back to the system before a new one of `size` bytes, those of the most different sizes first,
    until no more is held than was in use at once.
    """
    global _peak_bytes
    in_use = sum([loan.block.size_class for loan in list(_loans.values())]) + size
    free = sum([size_class * len(blocks) for size_class, blocks in list(_free.items())])
    _peak_bytes = max(_peak_bytes, in_use)
    excess = in_use + free - (1 + SLACK) * _peak_bytes
    for size_class in sorted(_free, key=lambda one: abs(one - size), reverse=True):
        blocks = _free[size_class]
        while blocks and excess > 0:
            try:
                excess -= blocks.pop().size_class
            except IndexError:
                break


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_free.clear)  # a child would copy the parent's pages one by one
