"""What is watched of a training: its batches, and the updates of its optimizer by layer, with their gradients."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

from tinygrad_llm.arrays import Array
from tinygrad_llm.optim.optimizer import Optimizer
from tinygrad_llm.tensor import Tensor
from tinygrad_llm.train.batch_loss import language_model_loss


class WatchedOptimizer:
    """Has the methods of `optimizer`, and sees each of its steps; it changes no bit of them.

    After a step inside `keeping_gradients`, `gradients` are the gradients it used (after clipping), by parameter. Where
    `measured` maps layers to parameters, `updates` and `weights` are the norms of each layer's update and weights.
    """

    def __init__(self, optimizer: Optimizer) -> None:
        self._optimizer = optimizer
        self.gradients: dict[Tensor, Array] = {}
        self.measured: Mapping[str, Sequence[Tensor]] = {}
        self.updates: list[float] = []
        self.weights: list[float] = []
        self._keeps_gradients = False

    def __getattr__(self, name: str) -> Any:
        return getattr(self._optimizer, name)

    @contextmanager
    def keeping_gradients(self) -> Iterator[None]:
        """Copy the gradients of each step inside the block."""
        self._keeps_gradients, self.gradients = True, {}
        try:
            yield
        finally:
            self._keeps_gradients = False

    def step(self) -> None:
        if self._keeps_gradients:
            self.gradients = {p: np.array(p.grad) for p in self._optimizer.parameters() if p.grad is not None}
        before = [[np.array(p.data) for p in layer] for layer in self.measured.values()]
        self._optimizer.step()
        self.updates, self.weights = [], []
        for layer, copies in zip(self.measured.values(), before, strict=True):
            self.weights.append(math.sqrt(sum(_square(p.data) for p in layer)))
            for p, copy in zip(layer, copies, strict=True):
                np.subtract(p.data, copy, out=copy)
            self.updates.append(math.sqrt(sum(map(_square, copies))))


class LastBatch:
    """The loss of a training, which remembers the last batch that was trained on."""

    def __init__(self, loss: Any = language_model_loss) -> None:
        self.loss = loss
        self.batch: Any = None

    def __call__(self, model: Any, batch: Any) -> Any:
        if model.training:
            self.batch = batch
        return self.loss(model, batch)


def layers_of(model: Any) -> dict[str, list[str]]:
    """The parameters' names by layer, such as `blocks.0.attention`; a shared one counts where it is first."""
    layers: dict[str, list[str]] = {}
    for name, _ in model.named_parameters():
        parts = name.split(".")
        depth = 3 if parts[0] == "blocks" else 1
        layers.setdefault(".".join(parts[: min(depth, len(parts) - 1)]) or name, []).append(name)
    return layers


def _square(x: Array) -> float:
    flat = x.ravel()
    return float(flat @ flat)
