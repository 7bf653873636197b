"""Data parallelism: a Trainer in each of several processes, which together train one model.

Each process has the same weights, computes the gradient of its share of the rows, and takes the same step with the sum
of all gradients. Batches, their order and the dropout masks are those of one process, so the number of processes
changes a run only by the order in which numbers are added, and by the load-balancing loss of a mixture of experts: each
computes it over its own rows.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from tinygrad_llm.data import count_rows, take_rows
from tinygrad_llm.nn import Module
from tinygrad_llm.train.batch_loss import Batches, Loss, count_targets, language_model_loss
from tinygrad_llm.train.evaluation import batches_of, evaluating, mean_over_targets
from tinygrad_llm.train.parallel.communicator import Communicator, share_of
from tinygrad_llm.train.parallel.gradient_sum import GradientSum
from tinygrad_llm.train.parallel.shared_dropout import SharedMasks, share_masks
from tinygrad_llm.train.settings import TrainingSettings
from tinygrad_llm.train.trainer import INTERRUPTIONS, Callback, ResumableLoader, Trainer


class ParallelTrainer(Trainer):
    """A `Trainer` whose steps are shared with the processes of `communicator`, each of which makes one.

    The first process, rank 0, reads, logs and saves for all: the others need no loader and no validation, and call no
    callbacks. Its weights and its position in the run are copied to the others when `train` begins.
    """

    def __init__(
        self,
        model: Module,
        loader: ResumableLoader | None,
        settings: TrainingSettings | None = None,
        validation: Batches | None = None,
        loss: Loss = language_model_loss,
        callbacks: Sequence[Callback] = (),
        *,
        communicator: Communicator,
    ) -> None:
        self.communicator = communicator
        self.processes_here = getattr(communicator, "processes_here", communicator.size)
        callbacks = callbacks if communicator.rank == 0 else ()
        super().__init__(model, loader, settings, validation, loss, callbacks)
        self.processes = communicator.size * self.workers
        self.generators["dropout"] = share_masks(model, self.generators["dropout"])
        self._sum_gradients = GradientSum(model.parameters(), communicator)

    @property
    def masks(self) -> SharedMasks:
        """The stream of dropout masks."""
        masks: Any = self.generators["dropout"]
        return masks

    def train(self, until: int | None = None) -> None:
        if self.workers == 1 or self.team is not None:  # else this is called again when the workers have started
            self._broadcast_initial_state()
        super().train(until)

    def _broadcast_initial_state(self) -> None:
        """Copy weights, optimizer and position in the run from the first process to the others."""
        if self.communicator.size == 1:
            return
        first = self.communicator.rank == 0
        own = (self.model.state_dict(), self.optimizer.state_dict(), self.state()) if first else None
        model, optimizer, state = self.communicator.broadcast(own)  # type: ignore[misc]
        if not first:
            self.model.load_state_dict(model)
            self.optimizer.load_state_dict(optimizer)
            self.set_state(state)

    def _interruptions(self, signals: list[int]) -> list[int]:
        """The signals that any process has received, so that all stop after the same step."""
        counts = np.array([signals.count(signum) for signum in INTERRUPTIONS], np.float64)
        return [signum for signum, count in zip(INTERRUPTIONS, self.communicator.sum(counts), strict=True) if count]

    def _next_batches(self) -> list[Any]:
        """The batches of a step, read by the first process for all."""
        return self.communicator.broadcast([] if self.communicator.rank else super()._next_batches())

    def _backward(self, batch: Any, targets: int) -> float:
        """Add the gradient of this process's rows of a batch; returns their part of the mean loss over `targets`."""
        if self.communicator.size == 1:
            return super()._backward(batch, targets)
        whole = count_rows(batch)
        rows = share_of(whole, self.communicator.rank, self.communicator.size)
        part = 0.0
        if rows.start < rows.stop:
            with self.masks.of_rows(rows, whole):
                part = super()._backward(take_rows(batch, rows), targets)
        if whole < self.communicator.size:  # a process without a row has drawn no masks
            self.masks.set_state(self.communicator.broadcast(self.masks.state()))
        return part

    def _sum_over_processes(self, loss: float) -> float:
        """The workers of each process have added up theirs already, in their shared memory."""
        total = float(self.communicator.sum(np.array([loss]))[0])
        self._sum_gradients()
        if self.team:
            self.team.take_gradients()
        return total

    def _has_validation(self) -> bool:
        return self.communicator.broadcast(super()._has_validation())

    def evaluate(self, batches: int | None = None) -> float:
        """The loss on `batches` evenly spaced batches of the validation part. Units: nats per target."""
        chosen = self.communicator.broadcast([] if self.communicator.rank else batches_of(self, batches))
        self.val_loss = evaluate_together(self.model, chosen, self.communicator, self.loss)
        return self.val_loss


def evaluate_together(
    model: Module, batches: Sequence[Any], communicator: Communicator, loss: Loss = language_model_loss
) -> float:
    """The mean loss over all targets of `batches`, as `evaluate` computes it, shared among processes.

    Each process takes whole batches in turn, and their losses are added in the order of the batches: the result is the
    same to the last bit for any number of processes. Units: nats per target. Raises: ConfigError if there are none
    """
    totals, counts = [], []
    with evaluating(model):
        for i, batch in enumerate(batches):
            mine = i % communicator.size == communicator.rank
            counts.append(count_targets(batch))
            totals.append(loss(model, batch).item() * counts[-1] if mine else 0.0)
    return mean_over_targets(communicator.sum(np.array(totals)).tolist(), counts)
