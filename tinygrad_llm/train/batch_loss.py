"""The loss of a batch, and how many targets it is the mean of."""

from __future__ import annotations

import gc
from collections.abc import Callable
from typing import Any, Protocol, TypeAlias

import numpy as np

from tinygrad_llm.ops.cross_entropy import IGNORE_INDEX
from tinygrad_llm.tensor import Tensor

Loss: TypeAlias = Callable[[Any, Any], Tensor]


class Batches(Protocol):
    """A sequence of batches: a list of them, or `WindowBatches`."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int, /) -> Any: ...


def language_model_loss(model: Any, batch: Any) -> Tensor:
    """What the model's own `loss` makes of a batch, such as (inputs, targets). Units: nats per target."""
    return model.loss(*batch)


def count_targets(batch: Any) -> int:
    """How many targets of a batch count: `num_targets` if it says so itself, else all of (inputs, targets) but -100."""
    if hasattr(batch, "num_targets"):
        return int(batch.num_targets)
    return int(np.count_nonzero(np.asarray(batch[1]) != IGNORE_INDEX))


def add_gradient(model: Any, batch: Any, targets: int, loss: Loss) -> float:
    """Add the gradient of a batch to the parameters' gradients; returns its part of the mean loss over `targets`."""
    collecting = gc.isenabled()
    gc.disable()  # it would search the thousands of objects of a graph in vain: there are no cycles among them
    try:
        part = loss(model, batch) * (max(1, count_targets(batch)) / targets)
        value: float = part.item()
        part.backward()  # its graph is freed here, before the next batch needs the memory
    finally:
        if collecting:
            gc.enable()
    return value
