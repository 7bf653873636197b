"""The interface of several processes that train one model.

Each of `size` processes runs the same program on its own copy of the model, and is numbered by `rank` from 0. They
communicate by two operations, which all processes must call in the same order: `broadcast` and `sum`. Only the first
process, rank 0, prints, logs and saves.
"""

from __future__ import annotations

from typing import Protocol, TypeVar

from tinygrad_llm.arrays import Array

Value = TypeVar("Value")


class Communicator(Protocol):
    """How processes communicate: `SingleProcess`, `mpi.MPICommunicator`, or a class of your own."""

    @property
    def rank(self) -> int: ...

    @property
    def size(self) -> int: ...

    def broadcast(self, value: Value) -> Value:
        """The value of the first process, in every process; the values that the others pass are ignored."""

    def sum(self, array: Array) -> Array:
        """The sum of all processes' arrays, in place; bitwise the same in all processes, and in every run.

        Σ = ((a₀ + a₁) + a₂) + ...     in the order of ranks, because rounding depends on the order
        """

    def abort(self, code: int) -> None:
        """End all processes at once with this exit code, after an error that the others have not met."""


class SingleProcess:
    """A process that trains alone: broadcast and sum return their argument."""

    rank, size = 0, 1

    def broadcast(self, value: Value) -> Value:
        return value

    def sum(self, array: Array) -> Array:
        return array

    def abort(self, code: int) -> None:
        """Do nothing: there is no other process to end."""


def share_of(count: int, rank: int, size: int) -> slice:
    """The contiguous part of `count` items that one of `size` processes takes; the first take one more if needed.

    >>> [share_of(10, rank, 3) for rank in range(3)]
    [slice(0, 4, None), slice(4, 7, None), slice(7, 10, None)]
    """
    each, left_over = divmod(count, size)
    start = rank * each + min(rank, left_over)
    return slice(start, start + each + (rank < left_over))
