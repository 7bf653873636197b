"""`torch.nn.utils`: gradient clipping, and parameters as one vector."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from tinygrad_llm import cat, optim
from tinygrad_llm.torch.missing import missing_word
from tinygrad_llm.torch.tensor import EngineTensor, Tensor, as_torch


def clip_grad_norm_(
    parameters: Any, max_norm: float, norm_type: float = 2.0, error_if_nonfinite: bool = False
) -> Tensor:
    """Scale all gradients in place so that their global norm is at most `max_norm`; return the norm before."""
    return Tensor(np.asarray(optim.clip_grad_norm_(parameters, max_norm, norm_type, error_if_nonfinite), np.float32))


def parameters_to_vector(parameters: Iterable[EngineTensor]) -> Any:
    return as_torch(cat([parameter.reshape(-1) for parameter in parameters]))


def __getattr__(name: str) -> Any:
    raise AttributeError(missing_word("torch.nn.utils", name, globals()))
