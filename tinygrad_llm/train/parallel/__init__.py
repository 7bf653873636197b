"""Data parallelism: several processes that train one model on shares of every batch."""

from typing import TYPE_CHECKING

from tinygrad_llm.lazy import lazy_imports

if TYPE_CHECKING:
    from tinygrad_llm.train.parallel.communicator import Communicator, SingleProcess
    from tinygrad_llm.train.parallel.mpi import join_launch
    from tinygrad_llm.train.parallel.trainer import ParallelTrainer

__getattr__, __dir__ = lazy_imports(__name__)

__all__ = ["Communicator", "ParallelTrainer", "SingleProcess", "join_launch"]
