"""Training in several processes, on one machine or many, with MPI and `mpi4py` (both come with the extra `mpi`).

    mpiexec -n 4 tinygrad-llm train ...

A process that no launcher has started never imports mpi4py.
"""

from __future__ import annotations

import sys
import time
from typing import Any

import numpy as np

from tinygrad_llm.arrays import Array
from tinygrad_llm.errors import ConfigError, MissingPackageError
from tinygrad_llm.train.parallel.communicator import Communicator, SingleProcess, Value
from tinygrad_llm.train.parallel.cores_and_memory import available_cores, usable_cores
from tinygrad_llm.train.parallel.launch import Launch, find_launch

PIECE = 1 << 17  # numbers for each process in one exchange: pieces that fit the cache were fastest with 2 and 4 ranks
SPIN_SECONDS = 0.005  # of busy waiting, for processes that are about to arrive
POLL_SECONDS = 0.001  # between polls after that, such as while the first process saves
SECONDS_BEFORE_ABORT = 1.0  # for the launcher to forward output: it discards what it reads after an abort


_world: Communicator | None = None


def join_launch() -> Communicator:
    """The communicator of the processes that were started together; `SingleProcess` for a process started alone.

    Raises: MissingPackageError if a launcher started this process and mpi4py or an MPI library is not installed;
            ConfigError if launcher and library are not of one MPI, so that the processes cannot see each other
    """
    global _world
    if _world is None:
        launch = find_launch()
        _world = SingleProcess() if launch is None else _connect(launch)
    return _world


def joined() -> Communicator:
    """The communicator that `join_launch` made; before it was called, `SingleProcess`."""
    return SingleProcess() if _world is None else _world


def _connect(launch: Launch) -> Communicator:
    try:
        from mpi4py import MPI
        from mpi4py.util.pkl5 import Intracomm
    except (ImportError, RuntimeError) as error:  # RuntimeError: mpi4py is installed, an MPI library is not
        raise MissingPackageError(
            f"started by mpiexec as one of {launch.size} processes, which needs mpi4py and MPI; got {error}: "
            "pip install 'tinygrad-llm[mpi]', or start it without mpiexec"
        ) from None
    world = MPICommunicator(MPI, Intracomm(MPI.COMM_WORLD))
    if world.size != launch.size:
        raise ConfigError(
            f"mpiexec and mpi4py must belong to one MPI: mpiexec started {launch.size} processes, mpi4py's "
            f"{MPI.get_vendor()[0]} sees {world.size}; use the mpiexec of the environment that mpi4py is installed in"
        )
    return world


class MPICommunicator:
    """The processes of an MPI communicator (`mpi4py.MPI`, and an `Intracomm` that pickles arrays without copies)."""

    def __init__(self, mpi: Any, comm: Any) -> None:
        self._mpi, self._comm = mpi, comm
        self.rank, self.size = int(comm.Get_rank()), int(comm.Get_size())
        neighbours = comm.Split_type(mpi.COMM_TYPE_SHARED)
        self.processes_here = int(neighbours.Get_size())
        cores = len(set().union(*neighbours.allgather(available_cores())))
        quota = usable_cores()  # of the container, which all processes on this machine are in
        self.cores_here = min(cores, quota) if quota < len(available_cores()) else cores

    def broadcast(self, value: Value) -> Value:
        self._wait()
        received: Value = self._comm.bcast(value if self.rank == 0 else None)
        return received

    def sum(self, array: Array) -> Array:
        """Each process sums one piece of all arrays, in the order of ranks, and sends the result to the others.

        The order of MPI's own Allreduce depends on the library; this order is fixed, and was no slower for large
        arrays: each process sends and receives every number twice, times (size - 1) / size.
        """
        self._wait()
        flat = array.reshape(-1)  # a view, because the array is contiguous
        exchanged = flat.size // self.size * self.size
        received = np.empty(min(exchanged, PIECE * self.size), flat.dtype)
        for start in range(0, exchanged, PIECE * self.size):
            piece = flat[start : min(start + PIECE * self.size, exchanged)]
            parts = received[: piece.size]
            self._comm.Alltoall(piece, parts)
            self._comm.Allgather(_add_in_order(parts.reshape(self.size, -1)), piece)
        rest = flat[exchanged:]
        if rest.size:
            parts = np.empty((self.size, rest.size), flat.dtype)
            self._comm.Allgather(np.ascontiguousarray(rest), parts)
            rest[...] = _add_in_order(parts)
        return array

    def abort(self, code: int) -> None:
        sys.stdout.flush()
        sys.stderr.flush()
        time.sleep(SECONDS_BEFORE_ABORT)
        self._comm.Abort(code)

    def _wait(self) -> None:
        """Return when all processes have called this.

        MPI's own waiting takes a whole core from the processes that still compute, and keeps Python from handling
        Ctrl-C.
        """
        arrival = self._comm.Ibarrier()
        started = time.monotonic()
        while not arrival.Test():
            if time.monotonic() - started > SPIN_SECONDS:
                time.sleep(POLL_SECONDS)


def _add_in_order(parts: Array) -> Array:
    """((a₀ + a₁) + a₂) + ...; written into the first. Shapes: (size, n) -> (n,)"""
    total = parts[0]
    for part in parts[1:]:
        total += part
    return total
