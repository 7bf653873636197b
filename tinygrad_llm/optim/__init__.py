"""Optimizers, gradient clipping and learning-rate schedules: how gradients become better weights."""

from typing import TYPE_CHECKING

from tinygrad_llm.lazy import lazy_imports
from tinygrad_llm.optim import schedules
from tinygrad_llm.optim.adamw import AdamW
from tinygrad_llm.optim.clipping import clip_grad_norm_, grad_norm
from tinygrad_llm.optim.optimizer import Optimizer

if TYPE_CHECKING:
    from tinygrad_llm.optim import norms as norms
    from tinygrad_llm.optim import optimizer_state as optimizer_state
    from tinygrad_llm.optim.adam import Adam
    from tinygrad_llm.optim.combined import CombinedOptimizer
    from tinygrad_llm.optim.more_schedules import linear, one_cycle, warmup_stable_decay
    from tinygrad_llm.optim.muon import Muon, hidden_matrices, muon_and_adamw
    from tinygrad_llm.optim.sgd import SGD

__all__ = ["SGD", "Adam", "AdamW", "CombinedOptimizer", "Muon", "Optimizer", "clip_grad_norm_", "grad_norm"]
__all__ += ["hidden_matrices", "linear", "muon_and_adamw", "one_cycle", "schedules", "warmup_stable_decay"]

__getattr__, __dir__ = lazy_imports(__name__)
