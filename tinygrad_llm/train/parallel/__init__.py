"""Data parallelism: several processes that train one model on shares of every batch.

On one machine they are workers with shared memory (`workers.py`, then `share.py`), on several they are connected by MPI
(`trainer.py`, `mpi.py`); each of the latter may have workers of its own.
"""

from typing import TYPE_CHECKING

from tinygrad_llm.lazy import lazy_imports

if TYPE_CHECKING:
    from tinygrad_llm.train.parallel import workers as workers
    from tinygrad_llm.train.parallel.communicator import Communicator, SingleProcess, share_of
    from tinygrad_llm.train.parallel.mpi import join_launch
    from tinygrad_llm.train.parallel.trainer import ParallelTrainer
    from tinygrad_llm.train.parallel.workers import Workers, started

__getattr__, __dir__ = lazy_imports(__name__)

__all__ = ["Communicator", "ParallelTrainer", "SingleProcess", "Workers", "join_launch", "share_of", "started"]
