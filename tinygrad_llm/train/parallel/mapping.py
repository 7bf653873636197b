"""Long work on many items shared among workers, which take them in turn; results come in the order of the items."""

from __future__ import annotations

import itertools
import os
import pickle
import time
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from typing import Any, TypeVar

import numpy as np

from tinygrad_llm.nn import Module
from tinygrad_llm.train.batch_loss import Loss, count_targets, language_model_loss
from tinygrad_llm.train.evaluation import evaluating, mean_over_targets
from tinygrad_llm.train.parallel.blas_threads import limited_blas_threads, threads_of_each
from tinygrad_llm.train.parallel.cores_and_memory import usable_cores
from tinygrad_llm.train.parallel.launch import find_launch
from tinygrad_llm.train.parallel.processes import Processes, can_fork
from tinygrad_llm.train.parallel.product_threads import products_alone
from tinygrad_llm.train.parallel.shared_memory import SharedMemory, aligned
from tinygrad_llm.train.parallel.workers import NO_WAY
from tinygrad_llm.train.trainer import SMALLEST_SHARED

Item = TypeVar("Item")
Result = TypeVar("Result")
# A spawned process needs half a second to start, one with a model of 135M parameters and its tokenizer two; a forked
# one 10 ms.
SECONDS_BEFORE_SPAWNING = 2.0


def usual_workers() -> int:
    """One worker per core, but this process alone among those of mpiexec, which share the cores."""
    return usable_cores() if find_launch() is None else 1


def map_in_workers(
    function: Callable[[Item], Result],
    items: Iterable[Item],
    model: Module | None = None,
    workers: int | None = None,
    seconds_alone: float | None = None,
) -> Iterator[Result]:
    """`function` of each item, in order, computed by `workers` processes; this one goes through the items.

    By default there are `usual_workers()`, but only this process for a `model`, which the function evaluates, that is
    too small to be shared.

    Forked workers inherit the function; only items and results are pickled. Where forking is unsafe, they are spawned
    once this process has worked for `seconds_alone`, by default `SECONDS_BEFORE_SPAWNING`. They get the function
    pickled, with the weights of `model` in shared memory. Where no worker can be started, this process computes all,
    and a warning says why.
    """
    if workers is None:
        small = model is not None and model.num_parameters() < SMALLEST_SHARED
        workers = 1 if small else usual_workers()
    if isinstance(items, list | tuple | range):
        workers = min(workers, len(items))
    if workers <= 1:
        yield from map(function, items)
        return
    remaining = iter(items)
    with limited_blas_threads(threads_of_each(workers)), products_alone():
        forked = can_fork()
        if not forked and seconds_alone != 0:
            spawning = time.monotonic() + (SECONDS_BEFORE_SPAWNING if seconds_alone is None else seconds_alone)
            for item in remaining:
                yield function(item)
                if time.monotonic() > spawning:
                    break
        if first := list(itertools.islice(remaining, workers)):
            yield from _shared(function, first, remaining, model, workers, forked)


def evaluate_in_workers(
    model: Module, batches: Iterable[Any], loss: Loss = language_model_loss, workers: int | None = None
) -> float:
    """`evaluate`, shared among workers. Units: nats per target. Raises: ConfigError if there are no targets"""
    pairs = list(map_in_workers(partial(_summed_loss, model, loss), batches, model, workers))
    return mean_over_targets([total for total, _ in pairs], [targets for _, targets in pairs])


def _summed_loss(model: Module, loss: Loss, batch: Any) -> tuple[float, int]:
    targets = count_targets(batch)
    with evaluating(model):
        return loss(model, batch).item() * targets, targets


def _shared(
    function: Callable[[Any], Any],
    chunk: Sequence[Any],
    remaining: Iterator[Any],
    model: Module | None,
    workers: int,
    forked: bool,
) -> Iterator[Any]:
    """The results for `chunk`, an item for each worker at most, and for the remaining items."""
    part = _Part(function) if forked else _SpawnedPart(function, model)
    try:
        processes = Processes(part, part.memory, workers, forked)
    except NO_WAY as error:
        warnings.warn(
            f"this process works alone: {workers} workers could not be started ({error or type(error).__name__})",
            stacklevel=3,
        )
        yield from map(function, itertools.chain(chunk, remaining))
        return
    finally:
        for memory in part.memory:
            memory.close_file()
    try:
        while chunk:
            for results in processes.call("compute", chunk):
                yield from results
            chunk = list(itertools.islice(remaining, workers))
        processes.stop()
    finally:
        processes.kill()


class _Part:
    """The part of one worker: of each chunk, the item at its rank."""

    memory: Sequence[SharedMemory] = ()

    def __init__(self, function: Callable[[Any], Any]) -> None:
        self.function = function

    def begin(self, rank: int, wait: Callable[[], None]) -> None:
        self.rank = rank
        if rank:  # only the first process prints
            for stream in (1, 2):
                os.dup2(os.open(os.devnull, os.O_WRONLY), stream)

    def compute(self, chunk: Sequence[Any]) -> list[Any]:
        """The result of this worker's item; empty behind the last."""
        return [self.function(item) for item in chunk[self.rank : self.rank + 1]]


class _SpawnedPart(_Part):
    """A part that is pickled, but for the weights of `model`, which lie in shared memory once for all workers."""

    def __init__(self, function: Callable[[Any], Any], model: Module | None) -> None:
        super().__init__(function)
        weights = {} if model is None else {p.data.ctypes.data: p.data for p in model.parameters()}
        sizes = [aligned(array.nbytes) for array in weights.values()]
        self._starts = dict(zip(weights, itertools.accumulate([0, *sizes]), strict=False))
        self.memory = [SharedMemory(sum(sizes), inherited=False)]
        for address, array in weights.items():
            self.memory[0].array(self._starts[address], array.shape, array.dtype)[...] = array

    def __getstate__(self) -> dict[str, Any]:
        places: list[tuple[int, int]] = []

        def is_copied(buffer: pickle.PickleBuffer) -> bool:
            array = np.frombuffer(buffer.raw(), np.uint8)
            start = self._starts.get(array.ctypes.data)
            if start is not None:
                places.append((start, array.nbytes))
            return start is None

        packed = pickle.dumps(self.function, pickle.HIGHEST_PROTOCOL, buffer_callback=is_copied)
        return {"packed": packed, "places": places, "memory": self.memory}

    def __setstate__(self, state: dict[str, Any]) -> None:
        (memory,) = state["memory"]
        weights = [memory.array(start, (size,), np.uint8) for start, size in state["places"]]
        self.function = pickle.loads(state["packed"], buffers=weights)
