"""Memory for large arrays that is used again.

A fresh large array is dear: the system hands its memory out page by page at the first touch, zeroed, and takes it back
when the array dies. A training step makes the same arrays as the step before; so a buffer whose array has died waits
here for the next array of about its size.

Nobody gives a buffer back. Every array, and every view of one, holds a reference to the memory it lies in, and CPython
counts references: a buffer that only this file refers to is free.
"""

from __future__ import annotations

import math
import sys
import threading
from bisect import bisect_left, bisect_right, insort
from collections.abc import Sequence
from itertools import islice
from typing import Any

import numpy as np

from tinygrad_llm.arrays import Array

SMALLEST = 1 << 17  # bytes: what is smaller, the C library serves quickly from memory that it keeps
ALIGNMENT = 64  # bytes, one line of the cache: NumPy's vector loops take twice as long for results that straddle two
SLACK = 0.1
MOST_WASTE = 1.5  # a buffer may be this many times as large as what is put into it


class Buffer(np.ndarray[Any, np.dtype[Any]]):
    """Bytes for one array to lie in: a type of its own, so that such an array can be told from a view of another."""

    start: int  # of the array: the first byte at a multiple of ALIGNMENT


_references = sys.getrefcount
_buffers: list[Buffer] = []  # by size
_most_needed = 0  # bytes, at once
_one_at_a_time = threading.Lock()


def empty(shape: Sequence[int], dtype: Any) -> Array:
    """An array with whatever numbers its memory holds, as `np.empty`; a large one in a buffer that is free."""
    dtype = np.dtype(dtype)
    size = math.prod(shape) * dtype.itemsize
    if size < SMALLEST:
        return np.empty(shape, dtype)
    buffer = _free_buffer(size + ALIGNMENT)
    return np.ndarray(shape, dtype, buffer, buffer.start)


def empty_like(x: Array) -> Array:
    """`empty` with x's shape and dtype."""
    return empty(x.shape, x.dtype)


def zeros(shape: Sequence[int], dtype: Any) -> Array:
    """`empty`, filled with zeros."""
    x = empty(shape, dtype)
    x.fill(0)
    return x


def copy(x: Array) -> Array:
    """x again, in C order."""
    y = empty_like(x)
    y[...] = x
    return y


def matmul(a: Array, b: Array) -> Array:
    """a @ b for two matrices, in memory from here."""
    return np.matmul(a, b, out=empty((a.shape[0], b.shape[1]), np.result_type(a, b)))


def add(a: Array, b: Array) -> Array:
    """a + b, for two large arrays alike in memory from here."""
    if a.nbytes < SMALLEST or a.shape != b.shape or a.dtype != b.dtype:
        return np.asarray(a + b)
    return np.add(a, b, out=empty_like(a))


def is_view(x: Array) -> bool:
    """Whether x lies in another array's memory."""
    return not (x.flags.owndata or isinstance(x.base, Buffer))


def _free_buffer(size: int) -> Buffer:
    """The smallest free buffer that fits, or a new one."""
    with _one_at_a_time:
        smallest = bisect_left(_buffers, size, key=len)
        for buffer in islice(_buffers, smallest, bisect_right(_buffers, size * MOST_WASTE, smallest, key=len)):
            if _references(buffer) == _REFERENCES_IF_FREE:
                return buffer
        _make_room(size)
        buffer = Buffer(size, np.uint8)
        buffer.start = -buffer.ctypes.data % ALIGNMENT
        insort(_buffers, buffer, key=len)
        return buffer


def _make_room(size: int) -> None:
    """Let free buffers go, those of sizes most unlike `size` first, until no more is held than was needed at once."""
    global _most_needed
    free = []
    for buffer in _buffers:
        if _references(buffer) == _REFERENCES_IF_FREE:
            free.append(buffer)
    held = sum(map(len, _buffers)) + size
    _most_needed = max(_most_needed, held - sum(map(len, free)))
    free.sort(key=lambda buffer: abs(len(buffer) - size))
    while free and held > (1 + SLACK) * _most_needed:
        unlike = free.pop()
        held -= len(unlike)
        del _buffers[next(place for place, buffer in enumerate(_buffers) if buffer is unlike)]


def _references_if_free() -> int:
    """Of a buffer that only a list holds, and the name by which a loop asks: versions of Python count differently."""
    counts = []
    for buffer in [Buffer(1, np.uint8)]:
        counts.append(_references(buffer))
    return counts[0]


_REFERENCES_IF_FREE = _references_if_free()
