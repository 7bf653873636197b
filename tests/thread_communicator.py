"""A communicator between threads, so that tests of data-parallel training need no other processes."""

from __future__ import annotations

import pickle
import threading
from collections.abc import Callable
from typing import Any

import numpy as np


class Meeting:
    """An exchange between `size` threads: each gives a value; when all have, each gets the list of all values."""

    def __init__(self, size: int) -> None:
        self.size, self.barrier = size, threading.Barrier(size, timeout=300)
        self.values: list[Any] = [None] * size
        self.exchanges = 0

    def exchange(self, rank: int, value: Any) -> list[Any]:
        self.values[rank] = value
        if self.barrier.wait() == 0:
            self.exchanges += 1
        all_values = list(self.values)
        self.barrier.wait()
        return all_values


class ThreadCommunicator:
    """A `Communicator` between threads. Broadcast values are pickled, so that threads share no objects by accident."""

    def __init__(self, meeting: Meeting, rank: int) -> None:
        self.meeting, self.rank, self.size = meeting, rank, meeting.size
        self.aborted: int | None = None

    def broadcast(self, value: Any) -> Any:
        return pickle.loads(self.meeting.exchange(self.rank, pickle.dumps(value if self.rank == 0 else None))[0])

    def sum(self, array: np.ndarray) -> np.ndarray:
        total, *others = self.meeting.exchange(self.rank, array.copy())
        total = total.copy()
        for other in others:
            total += other
        array[...] = total
        return array

    def abort(self, code: int) -> None:
        self.meeting.barrier.abort()


def in_threads(size: int, work: Callable[[ThreadCommunicator], Any]) -> list[Any]:
    """Run `work(communicator)` in each of `size` threads; return their results, or raise the first error."""
    meeting = Meeting(size)
    results: list[Any] = [None] * size
    errors: list[BaseException] = []

    def run(rank: int) -> None:
        try:
            results[rank] = work(ThreadCommunicator(meeting, rank))
        except BaseException as error:
            if not isinstance(error, threading.BrokenBarrierError):
                errors.append(error)
            meeting.barrier.abort()

    threads = [threading.Thread(target=run, args=(rank,)) for rank in range(size)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if errors:
        raise errors[0]
    return results
