"""When memory was last written in place, so that backward can refuse values that changed after the forward.

Time is counted in recorded operations and writes. Every in-place write that this package offers (`x[key] = value`,
`x += y`, an optimizer's step, `load_state_dict`) notes its time for the memory it wrote into, whichever Tensor it went
through: a Tensor, its `detach()`, views and other Tensors over the same array share their memory. Backward compares
that time with the time at which an operation was recorded. A training step writes before it records, so that one
comparison per operation is all it costs.

What NumPy itself writes into `tensor.data` cannot be seen from here; `detect_anomaly` finds it by comparing checksums.
"""

from __future__ import annotations

import itertools
import weakref
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from tinygrad_llm.arrays import Array
from tinygrad_llm.buffers import memory_owner
from tinygrad_llm.errors import GraphError

next_time = itertools.count(1).__next__
last_write = 0  # the time of the latest write into any memory

MOST_PARTS = 64  # parts of one memory whose writes are told apart


class _Writes:
    """The times of writes into the memory that one array owns: into all of it, and into parts, by their addresses."""

    __slots__ = ("owner", "parts", "whole")

    def __init__(self, owner: weakref.ref[Array]) -> None:
        self.owner = owner
        self.whole = 0
        self.parts: dict[tuple[int, int], int] = {}


_writes: dict[int, _Writes] = {}  # by the id of the array that owns the memory; removed when that array dies


def mark_written(array: Array) -> None:
    """Note that the memory of `array` was written into now."""
    global last_write
    last_write = now = next_time()
    owner = array if array.base is None else memory_owner(array)
    writes = _writes.get(id(owner)) or _first_write(owner)
    if owner is array:
        writes.whole = now
    elif array.nbytes == owner.nbytes or len(writes.parts) >= MOST_PARTS:
        writes.whole = now
        writes.parts.clear()
    else:
        writes.parts[np.lib.array_utils.byte_bounds(array)] = now


def _first_write(owner: Array) -> _Writes:
    key = id(owner)
    writes = _writes[key] = _Writes(weakref.ref(owner, lambda _: _writes.pop(key, None)))
    return writes


def written_since(array: Array, time: int) -> bool:
    """Whether this package wrote into the memory of `array` after `time`."""
    writes = _writes.get(id(memory_owner(array)))
    if writes is None or not array.size:
        return False
    if writes.whole > time:
        return True
    low, high = np.lib.array_utils.byte_bounds(array)
    return any(then > time and start < high and low < stop for (start, stop), then in writes.parts.items())


def expect_unchanged(backward: Callable[..., Any], time: int, operation: str, ids: Sequence[int]) -> None:
    """Raises GraphError if an array that `backward` saved was written into after `time`, when it was recorded.

    `ids` are those of the arrays of the operands, and last of the result, so that the message can name the array.
    """
    for name, array in saved_arrays(backward):
        if not written_since(array, time):
            continue
        known = [i for i, one in enumerate(ids) if one in (id(array), id(memory_owner(array)))]
        which = f"`{name}`" if not known else "its result" if known[0] == len(ids) - 1 else f"operand {known[0]}"
        raise GraphError(
            f"backward: what `{operation}` saved must stay as it was until its backward has run; {which}, of shape "
            f"{array.shape}, was written in place after the forward; write into a copy (`x = x + y` in place of "
            "`x += y`), or call backward before the write, such as an optimizer's step"
        )


def saved_arrays(function: Callable[..., Any]) -> Iterator[tuple[str, Array]]:
    """Every array in the closure of `function`, a backward, with the name of the variable that holds it."""
    for name, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=True):
        try:
            value = cell.cell_contents
        except ValueError:  # a variable that is not set yet
            continue
        yield from ((name, array) for array in _arrays_in(value))


def _arrays_in(value: Any) -> Iterator[Array]:
    if isinstance(value, np.ndarray):
        yield value
    elif isinstance(value, list | tuple):
        for item in value:
            yield from _arrays_in(item)
    elif getattr(value, "__closure__", None):
        yield from (array for _, array in saved_arrays(value))
