"""Several processes that train one model: all that the rest of the package knows of them.

Each of `size` processes runs the same program on a model of its own, numbered by `rank` from 0. They meet in two
operations, which every process must call in the same order: `broadcast` and `sum`. What is told, logged and saved is
told, logged and saved by the first process, rank 0, alone.
"""

from __future__ import annotations

from typing import Protocol, TypeVar

from tinygrad_llm.arrays import Array

Value = TypeVar("Value")


class Communicator(Protocol):
    """How processes reach each other: `SingleProcess`, `mpi.MPICommunicator`, or one of your own."""

    @property
    def rank(self) -> int: ...

    @property
    def size(self) -> int: ...

    def broadcast(self, value: Value) -> Value:
        """The value that the first process passes, in every process; what the others pass is not looked at."""

    def sum(self, array: Array) -> Array:
        """The sum of all processes' arrays, in place; the same bits everywhere, and in every run.

        Σ = ((a₀ + a₁) + a₂) + ...     in the order of ranks, for rounding depends on it
        """

    def abort(self, code: int) -> None:
        """End every process at once with this exit code: for an error that the others cannot know of."""


class SingleProcess:
    """A process alone: what it says and sums stays as it is."""

    rank, size = 0, 1

    def broadcast(self, value: Value) -> Value:
        return value

    def sum(self, array: Array) -> Array:
        return array

    def abort(self, code: int) -> None:
        """Nobody else is to be ended."""


def share_of(count: int, communicator: Communicator) -> slice:
    """Which of `count` things in a row this process takes: neighbours, and the first processes one more if they must.

    >>> share_of(10, SingleProcess())
    slice(0, 10, None)
    """
    each, left_over = divmod(count, communicator.size)
    start = communicator.rank * each + min(communicator.rank, left_over)
    return slice(start, start + each + (communicator.rank < left_over))
