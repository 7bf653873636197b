"""Sums over all rows of a batch that a forward needs, such as the tokens of each expert, while workers share the rows.

A module that needs one has `sum_over_rows`, None where one process has all rows, and `length_of_totals`, that of the
arrays that it sums. Every process with rows calls it in the same order: it is a barrier in the forward.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from tinygrad_llm.arrays import Array
from tinygrad_llm.nn import Module
from tinygrad_llm.train.parallel.shared_memory import SharedMemory, aligned

PASS = 1 << 32  # more sums than a pass has


def longest_total(model: Module) -> int:
    """The length of the longest array that a module of the model sums; 0 if none sums any."""
    return max((int(part.length_of_totals) for part in _summing(model)), default=0)


def bytes_for(length: int, size: int) -> int:
    return aligned((1 + 2 * length) * 8) * size


class RowTotals:
    """The part of process `rank` of `size` for the modules of `model`.

    Each process writes its array, increments its count, and reads the others once their counts have reached its own.
    Two buffers in turn are enough: a process reaches the sum after the next only when all have read this one.
    `order_memory` and `wait` are as in `SharedGradients`.
    """

    def __init__(
        self,
        memory: SharedMemory,
        model: Module,
        size: int,
        rank: int,
        wait: Callable[[], None],
        order_memory: Callable[[], None],
    ) -> None:
        self.modules, length = _summing(model), longest_total(model)
        each = bytes_for(length, 1)
        numbers = [memory.array(each * other, (1 + 2 * length,), np.int64) for other in range(size)]
        self.counts = [array[:1] for array in numbers]
        self.places = [array[1:].reshape(2, length) for array in numbers]
        self.rank, self.wait, self.order_memory = rank, wait, order_memory

    @contextmanager
    def of_pass(self, number: int, processes: int, weight: float) -> Iterator[None]:
        """In the block, modules sum over the first `processes`, which have rows. See `MixtureOfExperts` for `weight`.

        `number` is the number of the pass, the same in every process.
        """
        self.done = number * PASS

        def total(array: Array) -> tuple[Array, float]:
            return self._sum(array, processes), weight

        for part in self.modules if processes > 1 else ():
            part.sum_over_rows = total
        try:
            yield
        finally:
            for part in self.modules:
                part.sum_over_rows = None
            self.counts[self.rank][0] = (number + 1) * PASS  # nobody waits for more, whatever has happened

    def _sum(self, array: Array, processes: int) -> Array:
        place, length = self.done % 2, len(array)
        self.places[self.rank][place, :length] = array
        self.done += 1
        self.order_memory()
        self.counts[self.rank][0] = self.done
        for count in self.counts[:processes]:
            while count[0] < self.done:
                self.wait()
        self.order_memory()
        total: Array = np.sum([places[place, :length] for places in self.places[:processes]], axis=0)
        return total


def _summing(model: Module) -> list[Any]:
    return [part for part in model.modules() if hasattr(part, "sum_over_rows")]
