"""Optimizers, gradient clipping and learning-rate schedules: how gradients become better weights."""

from tinygrad_llm.optim import schedules
from tinygrad_llm.optim.adamw import AdamW
from tinygrad_llm.optim.clipping import clip_grad_norm_, grad_norm
from tinygrad_llm.optim.optimizer import Optimizer
from tinygrad_llm.optim.sgd import SGD

__all__ = ["SGD", "AdamW", "Optimizer", "clip_grad_norm_", "grad_norm", "schedules"]
