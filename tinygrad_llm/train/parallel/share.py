"""What each process does in a training step that several share: data parallelism, from one process's side.

    backward          the gradient of its rows of the batch, added to the sum that all processes share
                      (`shared_gradients.py`; what a cluster needs a reduce-scatter for)
    sum_of_squares    that of its slice of the gradients, for their norm: a part of the only backward of a step, or
                      called after the last of several
    step              its slice of the weights, updated in place by the optimizer; the others read them there (what
                      a cluster needs an all-gather for)

Every process has the whole model and finishes each of these before any begins the next: the barriers of a step. Slices
and sums are in the order of ranks: the same number of processes gives the same bits.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np

from tinygrad_llm.data import count_rows, take_rows
from tinygrad_llm.nn import Module
from tinygrad_llm.optim.optimizer import Optimizer
from tinygrad_llm.tensor import Tensor
from tinygrad_llm.train.batch_loss import Loss, add_gradient, count_targets
from tinygrad_llm.train.evaluation import evaluating
from tinygrad_llm.train.parallel.communicator import share_of
from tinygrad_llm.train.parallel.model_changes import Change, objects_of, set_attributes
from tinygrad_llm.train.parallel.row_totals import RowTotals
from tinygrad_llm.train.parallel.sharded_optimizer import Entry, ShardedOptimizer
from tinygrad_llm.train.parallel.shared_dropout import SharedMasks
from tinygrad_llm.train.parallel.shared_gradients import SharedGradients
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

    def begin(self, rank: int, wait: Callable[[], None]) -> None:
        """Take the part of process `rank`, which calls `wait` while it waits for another one's gradients."""
        self.rank = rank
        self.gradients = SharedGradients(self.memory, rank, wait)
        self.totals = RowTotals(self.memory.totals, self.model, self.size, rank, wait, self.gradients.order_memory)
        self.shard = ShardedOptimizer(self.optimizer, self.memory, rank)
        self._begun: list[bool] = []  # which parameters have a gradient; `_slices` are this process's part of them
        self.take_counts()  # those from before, which the first process has too

    def set_attributes(self, changes: Sequence[Change]) -> None:
        """Change attributes of the model and the loss, as a callback did in the first process."""
        set_attributes(objects_of(self.model, self.loss), changes)

    def take_counts(self) -> Any:
        """What the loss has counted besides on this process's rows, if it counts something; None in the first process,
        whose loss is the trainer's own.
        """
        return self.loss.take_counts() if self.rank and hasattr(self.loss, "take_counts") else None

    def backward(
        self,
        batch: Any,
        targets: int,
        begun: Sequence[int],
        masks: Mapping[str, Any],
        part: tuple[int, int, int] | None,
        only: bool,
    ) -> tuple[float, float | None]:
        """Add the gradient of this process's rows of a batch.

        `begun` are the parameters, by index, that have a gradient already. `masks` is the state of the stream of
        dropout masks before the batch, and `part` says which part the batch is of one that several machines share.
        Returns the rows' part of the mean loss over `targets`, and the `sum_of_squares` if it is the `only` batch.
        """
        whole = count_rows(batch)
        rows = share_of(whole, self.rank, self.size)
        loss = 0.0
        self.gradients.begin_pass(begun)
        try:
            if rows.start < rows.stop:
                self.masks.set_state(masks)
                self.masks.part = part
                mine = take_rows(batch, rows)
                weight = max(1, count_targets(batch)) / max(1, count_targets(mine))  # inverse to that of `add_gradient`
                totals = self.totals.of_pass(self.gradients.number, min(whole, self.size), weight)
                with self.masks.of_rows(rows, whole), totals, self._adding_to_shared_sums():
                    loss = add_gradient(self.model, mine, targets, self.loss)
            self.gradients.end_pass()
        except BaseException:
            self.gradients.abandon_pass()
            raise
        if not only:
            return loss, None
        self.gradients.wait_for_all()
        return loss, self.sum_of_squares()

    @contextmanager
    def _adding_to_shared_sums(self) -> Iterator[None]:
        """Inside, a backward adds to the shared sums; outside, as in a callback, to the `grad` of each parameter."""
        for parameter, gradient in zip(self.parameters, self.gradients.parameters, strict=True):
            parameter.grad_memory = gradient
        try:
            yield
        finally:
            for parameter in self.parameters:
                del parameter.grad_memory

    def sum_of_squares(self) -> float:
        """The sum of the squares of this process's slice of the gradients, which are complete."""
        memory, begun = self.memory, [self.gradients.is_begun(index) for index in range(len(self.parameters))]
        if begun != self._begun:
            runs = memory.runs(*memory.slice_of(self.rank), begun)
            self._begun = begun
            self._slices = [memory.gradients.array(a, ((b - a) // dtype.itemsize,), dtype) for a, b, dtype in runs]
        squares = 0.0
        for gradient in self._slices:
            squares += float(np.dot(gradient, gradient))
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
