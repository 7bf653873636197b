"""A long evaluation shared among workers: each takes every n-th item; results come in the order of the items."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar

from tinygrad_llm.nn import Module
from tinygrad_llm.train.parallel.blas_threads import limited_blas_threads
from tinygrad_llm.train.parallel.launch import available_cores, find_launch
from tinygrad_llm.train.parallel.processes import Processes, can_fork
from tinygrad_llm.train.trainer import SMALLEST_SHARED

Item = TypeVar("Item")
Result = TypeVar("Result")


def map_in_workers(
    function: Callable[[Item], Result], items: Sequence[Item], model: Module, workers: int | None = None
) -> Iterator[Result]:
    """`function` of each item, in order, computed by one forked worker per core (or by `workers`).

    `model` is what the function evaluates: for one too small to be shared, where processes cannot be forked and among
    processes of mpiexec, this process computes all. Results are pickled, the function and the items are not.
    """
    if workers is None:
        alone = model.num_parameters() < SMALLEST_SHARED or find_launch() is not None
        workers = 1 if alone else len(available_cores())
    workers = min(workers, len(items))
    if workers <= 1 or not can_fork():
        yield from map(function, items)
        return
    with limited_blas_threads(max(1, len(available_cores()) // workers)):
        processes = Processes(_Part(function, items, workers), [], workers, forked=True)
        try:
            for first in range(0, len(items), workers):
                yield from processes.call("compute", first)[: len(items) - first]
            processes.stop()
        finally:
            processes.kill()


class _Part:
    """One worker's items."""

    def __init__(self, function: Callable[[Any], Any], items: Sequence[Any], size: int) -> None:
        self.function, self.items, self.size = function, items, size

    def begin(self, rank: int, wait: Callable[[], None]) -> None:
        self.rank = rank

    def compute(self, first: int) -> Any:
        """The result of this worker's item of those from `first` on; None behind the last."""
        place = first + self.rank
        return self.function(self.items[place]) if place < len(self.items) else None
