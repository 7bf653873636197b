"""Training: the one loop, evaluation, what it prints, and the run folder."""

from tinygrad_llm.train.communicator import Communicator, SingleProcess
from tinygrad_llm.train.encoding import EncodedText, encode_once
from tinygrad_llm.train.evaluation import (
    Loss,
    bits_per_byte,
    count_targets,
    evaluate,
    evaluating,
    evenly_spaced,
    language_model_loss,
)
from tinygrad_llm.train.mpi import join_launch
from tinygrad_llm.train.progress import ProgressLog, StatusLine, duration, perplexity
from tinygrad_llm.train.run_folder import RunFolder, load
from tinygrad_llm.train.settings import TrainingSettings
from tinygrad_llm.train.trainer import Callback, Loader, Trainer

__all__ = ["Callback", "Communicator", "EncodedText", "Loader", "Loss", "ProgressLog", "RunFolder", "SingleProcess"]
__all__ += ["StatusLine", "Trainer", "TrainingSettings", "bits_per_byte", "count_targets", "duration", "encode_once"]
__all__ += ["evaluate", "evaluating", "evenly_spaced", "join_launch", "language_model_loss", "load", "perplexity"]
