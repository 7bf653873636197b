"""What happens where the numbers of a training are not finite: an error, or a step that is skipped.

Loaded on first use.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from tinygrad_llm.errors import AnomalyError
from tinygrad_llm.train.trainer import Trainer


def skip_or_raise(trainer: Trainer, loss: float) -> None:
    """A step whose loss or gradient is not finite: raise before the weights change, or count it and go on.

    Raises: AnomalyError, naming the first parameter whose gradient is not finite
    """
    if trainer.settings.skip_bad_steps:
        trainer.bad_steps += 1
        return
    named = trainer.model.named_parameters()
    name = next((name for name, p in named if p.grad is not None and not _is_finite(p.grad)), None)
    where = "" if name is None else f"; the first parameter whose gradient is not finite is {name}"
    raise AnomalyError(
        f"step {trainer.step + 1}: loss and gradients must be finite; got loss {loss}{where}. The weights are those "
        "after the step before. Usual causes: a learning rate too high, no warm-up, no clipping, broken data; "
        "--skip-bad-steps goes on without this batch; in Python, detect_anomaly() names the operation"
    )


def finite_val_loss(trainer: Trainer, loss: float) -> float | None:
    """A validation loss, or None where it is not finite and that may be skipped. Raises: AnomalyError where not"""
    if math.isfinite(loss):
        return loss
    trainer.val_loss = None
    if trainer.settings.skip_bad_steps:
        return None
    raise AnomalyError(
        f"step {trainer.step}: the validation loss must be finite; got {loss}. These weights are not saved. Usual "
        "causes: a learning rate too high, no warm-up, no clipping; --skip-bad-steps goes on"
    )


def _is_finite(gradient: Any) -> bool:
    return bool(np.isfinite(gradient).all())
