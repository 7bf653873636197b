"""Training on several processes, on one machine or many, through MPI and `mpi4py` (both come with the extra `mpi`).

    mpiexec -n 4 tinygrad-llm train ...

A process that no launcher has started never looks for mpi4py.
"""

from __future__ import annotations

import sys
import time
from typing import Any

import numpy as np

from tinygrad_llm.arrays import Array
from tinygrad_llm.errors import ConfigError, MissingPackageError
from tinygrad_llm.train.parallel.communicator import Communicator, SingleProcess, Value
from tinygrad_llm.train.parallel.launch import Launch, available_cores, find_launch

PIECE = 1 << 17  # numbers for each process in one exchange: pieces that fit the cache were fastest with 2 and 4 ranks
IMPATIENCE = 0.005  # seconds of waiting at full attention, as for a process that is about to arrive
NAP = 0.001  # seconds between looks after that, as while the first process saves
LAST_WORDS = 0.3  # seconds for the launcher to pass on what was said: it drops what it reads after an abort


_world: Communicator | None = None


def join_launch() -> Communicator:
    """Meet the processes that were started together with this one; a process started alone stays alone.

    Raises: MissingPackageError where a launcher started this process and mpi4py or an MPI library is not installed;
            ConfigError where launcher and library are not of one MPI, so that the processes cannot see each other
    """
    global _world
    if _world is None:
        launch = find_launch()
        _world = SingleProcess() if launch is None else _meet(launch)
    return _world


def joined() -> Communicator:
    """The processes met so far; before `join_launch`, nobody."""
    return SingleProcess() if _world is None else _world


def _meet(launch: Launch) -> Communicator:
    try:
        from mpi4py import MPI
        from mpi4py.util.pkl5 import Intracomm
    except (ImportError, RuntimeError) as error:  # RuntimeError: mpi4py is there, the MPI library is not
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
        self.cores_here = len(set().union(*neighbours.allgather(available_cores())))

    def broadcast(self, value: Value) -> Value:
        self._wait()
        received: Value = self._comm.bcast(value if self.rank == 0 else None)
        return received

    def sum(self, array: Array) -> Array:
        """Each process adds up one piece of every array, in the order of ranks, and hands it out.

        MPI's own Allreduce may add in another order from library to library; this order is fixed, and for large arrays
        it was no slower: every number crosses the wire twice, (size - 1) / size of them for each process.
        """
        self._wait()
        flat = array.reshape(-1)  # a view: what is summed is one block of memory
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
        time.sleep(LAST_WORDS)
        self._comm.Abort(code)

    def _wait(self) -> None:
        """Return when all processes are here. MPI itself waits at full speed, and so would take a core from whoever is
        still at work; and Python would not hear of Ctrl-C."""
        arrival = self._comm.Ibarrier()
        started = time.monotonic()
        while not arrival.Test():
            if time.monotonic() - started > IMPATIENCE:
                time.sleep(NAP)


def _add_in_order(parts: Array) -> Array:
    """((a₀ + a₁) + a₂) + ...; written into the first. Shapes: (size, n) -> (n,)"""
    total = parts[0]
    for part in parts[1:]:
        total += part
    return total
