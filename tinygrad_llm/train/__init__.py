"""Training: the one loop, its settings and evaluation; `parallel/` shares its work among processes.

Names of the rooms above it that this package used to hold are still found here.
"""

from typing import TYPE_CHECKING

from tinygrad_llm.lazy import lazy_imports

if TYPE_CHECKING:
    from tinygrad_llm.runs import EncodedText, ProgressLog, RunFolder, StatusLine, duration, encode_once, load
    from tinygrad_llm.train import bad_steps as bad_steps
    from tinygrad_llm.train import evaluation as evaluation
    from tinygrad_llm.train import parallel as parallel
    from tinygrad_llm.train import resuming as resuming
    from tinygrad_llm.train.batch_loss import Loss, count_targets, language_model_loss
    from tinygrad_llm.train.evaluation import bits_per_byte, evaluate, evaluating, evenly_spaced, perplexity
    from tinygrad_llm.train.parallel import Communicator, SingleProcess, join_launch
    from tinygrad_llm.train.settings import TrainingSettings
    from tinygrad_llm.train.trainer import Callback, ResumableLoader, Trainer

__getattr__, __dir__ = lazy_imports(__name__)

__all__ = [
    "Callback",
    "Communicator",
    "EncodedText",
    "Loss",
    "ProgressLog",
    "ResumableLoader",
    "RunFolder",
    "SingleProcess",
]
__all__ += ["StatusLine", "Trainer", "TrainingSettings", "bits_per_byte", "count_targets", "duration", "encode_once"]
__all__ += ["evaluate", "evaluating", "evenly_spaced", "join_launch", "language_model_loss", "load", "perplexity"]
