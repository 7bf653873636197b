"""What each process does in a training step that several share: data parallelism, from one process's side.

    backward         the gradient of its rows of the batch, written into its own copy of the gradients
    sum_gradients    its slice of all copies, summed into the first copy (a reduce-scatter)
    step             its slice of the weights, updated in place by the optimizer; the others read them there (what
                     a cluster needs an all-gather for)

Every process has the whole model and finishes each of the three before any begins the next, so a step has three
barriers. Slices and sums are in the order of ranks: the same number of processes gives the same bits.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tinygrad_llm.data import count_rows, take_rows
from tinygrad_llm.nn import Module
from tinygrad_llm.optim.blocks import BLOCK
from tinygrad_llm.optim.optimizer import Optimizer
from tinygrad_llm.tensor import Tensor
from tinygrad_llm.train.batch_loss import Loss, add_gradient, count_targets
from tinygrad_llm.train.evaluation import evaluating
from tinygrad_llm.train.parallel.communicator import share_of
from tinygrad_llm.train.parallel.sharded_optimizer import Entry, ShardedOptimizer
from tinygrad_llm.train.parallel.shared_dropout import SharedMasks
from tinygrad_llm.train.parallel.training_memory import TrainingMemory


@dataclass
class Share:
    """The part of process `rank` of `size`: a model whose `parameters` lie in `memory`, and what it is trained with."""

    model: Module
    loss: Loss
    masks: SharedMasks
    optimizer: Optimizer
    parameters: list[Tensor]
    memory: TrainingMemory
    size: int
    rank: int = 0

    def begin(self, rank: int) -> None:
        """Take the part of process `rank`: from now on its gradients lie in its own copy."""
        self.rank = rank
        for index, parameter in enumerate(self.parameters):
            parameter.grad_memory = self.memory.array(self.memory.gradients[rank], index)
            before, parameter.grad = parameter.grad, None
            if before is not None and rank == 0:  # it is added to, as in one process
                parameter.collect(before)
        self.shard = ShardedOptimizer(self.optimizer, self.memory, rank)
        if rank:  # the first process's is the trainer's own
            self.model.train()
        self.take_counts()  # those from before, which the first process has too

    def take_counts(self) -> Any:
        """What the loss has counted besides on this process's rows, if it counts something; None in the first process,
        whose loss is the trainer's own.
        """
        return self.loss.take_counts() if self.rank and hasattr(self.loss, "take_counts") else None

    def backward(
        self, batch: Any, targets: int, masks: Mapping[str, Any], part: tuple[int, int, int] | None
    ) -> tuple[float, list[int]]:
        """Add the gradient of this process's rows of a batch.

        `masks` is the state of the stream of dropout masks before the batch, and `part` says which part the batch is
        of one that several machines share. Returns the rows' part of the mean loss over `targets`, and the parameters,
        by index, that have no gradient so far: zeros stand in their places.
        """
        whole = count_rows(batch)
        rows = share_of(whole, self.rank, self.size)
        loss = 0.0
        if rows.start < rows.stop:
            self.masks.set_state(masks)
            self.masks.part = part
            with self.masks.of_rows(rows, whole):
                loss = add_gradient(self.model, take_rows(batch, rows), targets, self.loss)
        missing = [index for index, parameter in enumerate(self.parameters) if parameter.grad is None]
        for index in missing:
            self.memory.array(self.memory.gradients[self.rank], index).fill(0)
        return loss, missing

    def sum_gradients(self) -> float:
        """Sum this process's slice of all gradients into the first copy; returns the sum of the squares of the sums.

        ((g₀ + g₁) + g₂) + ...     in the order of ranks, over blocks that stay in the cache
        """
        squares = 0.0
        for start, stop, dtype in self.memory.runs(*self.memory.slice_of(self.rank)):
            total, *others = (self.memory.flat(copy, start, stop, dtype) for copy in self.memory.gradients)
            for first in range(0, total.size, BLOCK):
                block = total[first : first + BLOCK]
                for other in others:
                    block += other[first : first + BLOCK]
                squares += float(np.dot(block, block))
        for parameter in self.parameters:
            parameter.grad = None
        return squares

    def step(
        self, entries: Sequence[Entry] | None, settings: Sequence[Mapping[str, Any]], factor: float
    ) -> dict[int, tuple[str, ...]]:
        """Update this process's slice of the weights; see `ShardedOptimizer`. `entries` are given where they change."""
        if entries is not None:
            self.shard.take_over(entries, len(settings))
        return self.shard.step(settings, factor)

    def losses(self, batches: Sequence[Any]) -> list[float]:
        """The loss on each batch, times its targets; 0 for the batches of other processes, who take them in turn."""
        with evaluating(self.model):
            return [
                self.loss(self.model, batch).item() * count_targets(batch) if i % self.size == self.rank else 0.0
                for i, batch in enumerate(batches)
            ]
