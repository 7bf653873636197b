"""Where the arrays of a training lie while several processes share it.

    weights      one copy; every process reads all of them, and writes the slice that it updates
    state        one copy of the optimizer's arrays, such as AdamW's two moments; each process touches its slice alone
    gradients    one copy, the sum over all rows of the batch, to which every process adds
    progress     how far each process has come with it (`shared_gradients.py`)
    totals       what the forward sums over all rows (`row_totals.py`)

The parameters follow each other in the order of the optimizer's groups, each at the start of a cache line, at the same
offset in every copy. A slice of the copies is therefore a range of bytes, whatever parameters it cuts.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from tinygrad_llm.arrays import Array
from tinygrad_llm.tensor import Tensor
from tinygrad_llm.train.parallel.row_totals import bytes_for
from tinygrad_llm.train.parallel.shared_memory import ALIGNMENT, SharedMemory, aligned

LARGE = 1 << 21  # elements of a parameter whose gradient is summed in blocks


class Place(NamedTuple):
    """Where a parameter lies in each copy. Units: bytes"""

    start: int
    shape: tuple[int, ...]
    dtype: np.dtype

    @property
    def stop(self) -> int:
        return self.start + math.prod(self.shape) * self.dtype.itemsize


class TrainingMemory:
    """Copies of `parameters`, the optimizer's arrays `state_names` and the gradients that `size` processes share.

    `longest_total` is the length of the longest array that the forward sums over all rows.
    """

    def __init__(
        self,
        parameters: Sequence[Tensor],
        state_names: Sequence[str],
        size: int,
        inherited: bool,
        longest_total: int = 0,
    ) -> None:
        self.places: list[Place] = []
        end = 0
        for parameter in parameters:
            self.places.append(Place(end, parameter.shape, parameter.dtype))
            end = aligned(self.places[-1].stop)
        self.bytes, self.size = end, size
        self.weights = SharedMemory(end, inherited)
        self.state = {name: SharedMemory(end, inherited) for name in state_names}
        self.gradients = SharedMemory(end, inherited)
        self.blocks = [_blocks(parameter.shape, size) for parameter in parameters]  # of rows, to sum gradients
        self.progress = SharedMemory(((size + 1) * sum(map(len, self.blocks)) + size) * 8, inherited)
        self.totals = SharedMemory(bytes_for(longest_total, size), inherited)

    def array(self, copy: SharedMemory, index: int) -> Array:
        """A parameter's part of one copy, in its own shape."""
        place = self.places[index]
        return copy.array(place.start, place.shape, place.dtype)

    def slice_of(self, rank: int) -> tuple[int, int]:
        """The range of bytes that a process updates: equal parts, in whole cache lines."""
        lines = self.bytes // ALIGNMENT
        return lines * rank // self.size * ALIGNMENT, lines * (rank + 1) // self.size * ALIGNMENT

    def runs(self, start: int, stop: int, chosen: Sequence[bool]) -> list[tuple[int, int, np.dtype]]:
        """The chosen parameters in a range of bytes, as ranges of one dtype each; between two of them lie zeros."""
        runs: list[tuple[int, int, np.dtype]] = []
        for place, taken in zip(self.places, chosen, strict=True):
            first, last = max(place.start, start), min(aligned(place.stop), stop)
            if first >= last or not taken:
                continue
            if runs and runs[-1][1:] == (first, place.dtype):
                first = runs.pop()[0]
            runs.append((first, last, place.dtype))
        return runs

    def all(self) -> list[SharedMemory]:
        return [self.weights, *self.state.values(), self.gradients, self.progress, self.totals]


def _blocks(shape: tuple[int, ...], size: int) -> list[slice]:
    """The rows of a parameter in one block, or in `size` blocks if it is large."""
    if math.prod(shape) <= LARGE or shape[0] < size:
        return [slice(None)]
    return [slice(shape[0] * i // size, shape[0] * (i + 1) // size) for i in range(size)]
