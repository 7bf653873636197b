"""Whether a launcher such as mpiexec started this process, from its environment."""

from __future__ import annotations

import os
from typing import NamedTuple

# Environment variables of launchers: the rank of a process, the number of processes, the rank on its machine.
LAUNCHERS = (
    ("PMI_RANK", "PMI_SIZE", "MPI_LOCALRANKID"),  # MPICH and its kin, Slurm's srun --mpi=pmi2
    ("OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE", "OMPI_COMM_WORLD_LOCAL_RANK"),  # Open MPI
    ("PMIX_RANK", "SLURM_NTASKS", "SLURM_LOCALID"),  # Slurm's srun --mpi=pmix
)


class Launch(NamedTuple):
    """The rank of this process, the number of processes, and its rank among those on this machine."""

    rank: int
    size: int
    rank_on_machine: int


def find_launch() -> Launch | None:
    """What the launcher says, or None where there was none."""
    for rank, size, rank_on_machine in LAUNCHERS:
        try:
            return Launch(int(os.environ[rank]), int(os.environ[size]), int(os.environ.get(rank_on_machine, 0)))
        except (KeyError, ValueError):
            continue
    return None
