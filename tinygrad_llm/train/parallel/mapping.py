"""Long work on many items shared among workers: each takes every n-th; results come in the order of the items."""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Iterable, Iterator
from typing import Any, TypeVar

from tinygrad_llm.nn import Module
from tinygrad_llm.train.batch_loss import Loss, count_targets, language_model_loss
from tinygrad_llm.train.evaluation import evaluating, mean_over_targets
from tinygrad_llm.train.parallel.blas_threads import limited_blas_threads, threads_of_each
from tinygrad_llm.train.parallel.launch import available_cores, find_launch
from tinygrad_llm.train.parallel.processes import Processes, can_fork
from tinygrad_llm.train.trainer import SMALLEST_SHARED

Item = TypeVar("Item")
Result = TypeVar("Result")


def map_in_workers(
    function: Callable[[Item], Result], items: Iterable[Item], model: Module | None = None, workers: int | None = None
) -> Iterator[Result]:
    """`function` of each item, in order, computed by one forked worker per core (or by `workers`).

    Every process goes through the items itself and takes its own, so that nothing is sent but the results, pickled. A
    file that `items` read must be opened by the iteration. Only this process prints. `model` is what the function
    evaluates: for one too small to be shared, where processes cannot be forked and among processes of mpiexec, this
    process computes all.
    """
    if workers is None:
        small = model is not None and model.num_parameters() < SMALLEST_SHARED
        workers = 1 if small or find_launch() is not None else len(available_cores())
    if isinstance(items, list | tuple | range):
        workers = min(workers, len(items))
    if workers <= 1 or not can_fork():
        yield from map(function, items)
        return
    with limited_blas_threads(threads_of_each(workers)):
        processes = Processes(_Part(function, items, workers), [], workers, forked=True)
        try:
            while results := [result for result in processes.call("compute") if result]:
                for (result,) in results:
                    yield result
            processes.stop()
        finally:
            processes.kill()


def evaluate_in_workers(model: Module, batches: Iterable[Any], loss: Loss = language_model_loss) -> float:
    """`evaluate`, shared among workers. Units: nats per target. Raises: ConfigError if there are no targets"""

    def summed(batch: Any) -> tuple[float, int]:
        targets = count_targets(batch)
        return loss(model, batch).item() * targets, targets

    with evaluating(model):
        pairs = list(map_in_workers(summed, batches, model))
    return mean_over_targets([total for total, _ in pairs], [targets for _, targets in pairs])


class _Part:
    """One worker's items."""

    def __init__(self, function: Callable[[Any], Any], items: Iterable[Any], size: int) -> None:
        self.function, self.items, self.size = function, items, size

    def begin(self, rank: int, wait: Callable[[], None]) -> None:
        if rank:  # only the first process prints, such as the progress of `items`
            for stream in (1, 2):
                os.dup2(os.open(os.devnull, os.O_WRONLY), stream)
        self.mine = itertools.islice(self.items, rank, None, self.size)

    def compute(self) -> tuple[Any, ...]:
        """The result of this worker's next item; empty behind the last."""
        return tuple(self.function(item) for item in itertools.islice(self.mine, 1))
