"""Worker processes that share each step of a `Trainer` on one machine, one per core: data parallelism by hand.

    trainer = Trainer(model, loader, TrainingSettings(workers=2))
    trainer.train()

BLAS's threads share one product after another, and wait for each other at each; all that lies between the products runs
on one core. Workers share the rows of the batch instead: each runs the whole step on its rows, on one core with one
BLAS thread, and they meet twice in a step (`share.py`). Another busy program slows them no more than it must.

The weights lie in memory that all of them map, so nothing is sent but the batch and a few numbers. The first worker is
the trainer's own process, which alone reads, logs, evaluates, saves and decides.
"""

from __future__ import annotations

import functools
import math
import operator
import pickle
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from tinygrad_llm import buffers
from tinygrad_llm.errors import ConfigError
from tinygrad_llm.nn import Module
from tinygrad_llm.optim.clipping import grad_norm
from tinygrad_llm.optim.combined import rules_of
from tinygrad_llm.tensor import Tensor
from tinygrad_llm.train.batch_loss import Loss, count_targets
from tinygrad_llm.train.evaluation import evaluate, mean_over_targets
from tinygrad_llm.train.parallel.blas_threads import (
    adjust_limit_by_environment,
    limited_blas_threads,
    threads_of_each,
)
from tinygrad_llm.train.parallel.cores_and_memory import usable_cores
from tinygrad_llm.train.parallel.model_changes import ModelChanges
from tinygrad_llm.train.parallel.processes import Processes, can_fork
from tinygrad_llm.train.parallel.product_threads import products_alone
from tinygrad_llm.train.parallel.row_totals import longest_total
from tinygrad_llm.train.parallel.sharded_optimizer import Entry
from tinygrad_llm.train.parallel.share import Share
from tinygrad_llm.train.parallel.shared_dropout import share_masks
from tinygrad_llm.train.parallel.training_memory import TrainingMemory
from tinygrad_llm.train.trainer import Trainer
from tinygrad_llm.versions import mark_written

START_METHODS = ("fork", "spawn")
NO_WAY = (OSError, pickle.PicklingError, TypeError, AttributeError, AssertionError)  # of starting a process


def one_per_core(trainer: Trainer) -> int:
    """The workers of "auto": one per core that this trainer may use, but no more than a batch has rows.

    The command line has set BLAS's threads before this number was known; they now divide the cores.
    """
    chosen = max(1, min(usable_cores() // trainer.processes_here, trainer.settings.batch_size))
    adjust_limit_by_environment(chosen * trainer.processes_here)
    return chosen


@contextmanager
def started(trainer: Trainer, method: str | None = None) -> Iterator[None]:
    """Let workers share the steps and evaluations of `trainer` in the block; `train` does it where nobody has.

    `method` is "fork" or "spawn"; without it, the faster one that is safe here. Where none works, the trainer goes on
    alone, and a warning says why.
    """
    if trainer.workers == 1 or trainer.team is not None:
        yield
        return
    with limited_blas_threads(threads_of_each(trainer.workers * trainer.processes_here)), products_alone():
        trainer.team = _team(trainer, method)
        try:
            yield
            if trainer.team is not None:
                trainer.team.processes.stop()
        finally:
            if trainer.team is not None:
                trainer.team.leave()
            trainer.team = None


def _team(trainer: Trainer, method: str | None) -> Workers | None:
    methods = [method] if method else ["fork"] if can_fork() else ["spawn"]
    problems = []
    for name in methods:
        if name not in START_METHODS:
            raise ConfigError(f"workers start by {' or '.join(START_METHODS)}; got {name!r}")
        try:
            return Workers(trainer, name == "fork", method)
        except NO_WAY as error:
            problems.append(f"{name}: {str(error) or type(error).__name__}")
    warnings.warn(
        f"training in one process: {trainer.workers} workers could not be started ({'; '.join(problems)})", stacklevel=4
    )
    trainer.processes = trainer.processes // trainer.workers
    trainer.workers = 1
    return None


class Workers:
    """The workers of `trainer`, from their start to `leave`: what it calls in place of doing a whole step itself."""

    def __init__(self, trainer: Trainer, forked: bool, method: str | None = None) -> None:
        self.trainer, self._method = trainer, method
        self._groups = self._membership()
        self.masks = trainer.generators["dropout"] = share_masks(trainer.model, trainer.generators["dropout"])
        self.parameters = list(self._groups)
        names, length = trainer.optimizer.state_arrays, longest_total(trainer.model)
        self.memory = TrainingMemory(self.parameters, names, trainer.workers, inherited=forked, longest_total=length)
        self._move_in()
        self._loss, self._optimizer, self._taken_over = trainer.loss, trainer.optimizer, self._arrays()
        self._updated: list[tuple[int, int]] | None = None  # places and groups of what the optimizer's slices cover
        self._names: dict[int, tuple[str, ...]] = {}  # of the arrays of its state, by group
        self._changes = ModelChanges(trainer.model, trainer.loss, self._groups)
        share = Share(
            trainer.model, trainer.loss, self.masks, trainer.optimizer, self.parameters, self.memory, trainer.workers
        )
        try:
            self.processes = Processes(share, self.memory.all(), trainer.workers, forked, trainer.processes_here)
            self._sums = share.gradients
        except BaseException:
            self.leave()
            raise
        finally:
            for memory in self.memory.all():
                memory.close_file()

    # -- the parts of a step

    def backward(self, batch: Any, targets: int) -> float:
        """Add the gradient of a batch; returns its part of the mean loss over `targets`."""
        if not self._bring_up_to_date():
            self._begin_anew()
            return Trainer._backward(self.trainer, batch, targets)
        begun = []
        for parameter, part in zip(self.parameters, self._sums.parameters, strict=True):
            if parameter.grad is not None:
                if parameter.grad is not part.array:
                    part.array[...] = parameter.grad
                begun.append(part.index)
        only = self.trainer.settings.grad_accumulation == 1
        results = self.processes.call("backward", batch, targets, begun, self.masks.state(), self.masks.part, only)
        losses, squares = zip(*results, strict=True)
        self._squares = sum(squares, 0.0) if only else None
        for parameter, part in zip(self.parameters, self._sums.parameters, strict=True):
            parameter.grad = part.array if self._sums.is_begun(part.index) else None
        self._collect_counts()
        self._changes.note()
        return sum(losses, 0.0)

    def take_gradients(self) -> None:
        """Use the gradients that the trainer's model has now, such as sums over several machines."""
        self._squares = math.nan
        for parameter, part in zip(self.parameters, self._sums.parameters, strict=True):
            if parameter.grad is not None:
                part.array[...] = parameter.grad
                parameter.grad = part.array

    def clip_gradients(self, most: float) -> float:
        """The global norm of the gradients, which `step` scales down to `most`; 0 leaves them as they are."""
        squares = sum(self.processes.call("sum_of_squares"), 0.0) if self._squares is None else self._squares
        usual = 1e-30 < squares < math.inf  # else squares have overflowed or vanished, or are of other gradients
        norm = math.sqrt(squares) if usual else grad_norm(self.parameters)
        self._factor = min(1.0, most / (norm + 1e-6)) if most else 1.0
        return norm

    def step(self) -> None:
        """Update the weights, each worker its slice. As any write, it counts as a change for a graph that is held."""
        updated = []
        for place, (parameter, group) in enumerate(self._groups.items()):
            if parameter.grad is not None and group is not None:
                updated.append((place, group))
            elif parameter.grad is not None:
                parameter.grad *= self._factor
        divided_anew = updated != self._updated
        entries = [self._entry(place, group) for place, group in updated] if divided_anew else None
        settings = [
            {name: value for name, value in group.items() if name not in ("params", "param_names")}
            for group in self.trainer.optimizer.param_groups
        ]
        names: dict[int, tuple[str, ...]] = {}
        count = functools.partial(self._count_step, updated)
        for part in self.processes.call("step", entries, settings, self._factor, meanwhile=count):
            names |= part
        if divided_anew or names != self._names:
            self._record_arrays(updated, names)

    def _entry(self, place: int, group: int) -> Entry:
        """A parameter to update, with what the optimizer has recorded of it."""
        recorded = self.trainer.optimizer.state.get(self.parameters[place], {})
        names = tuple(name for name in self.memory.state if name in recorded)
        return Entry(place, group, names, recorded.get("step"))

    def _count_step(self, updated: Sequence[tuple[int, int]]) -> None:
        """Note that these parameters were written, and in the trainer's optimizer their number of steps."""
        optimizer = self.trainer.optimizer
        counts = [rule.counts_steps for rule in rules_of(optimizer)]
        for place, group in updated:
            parameter = self.parameters[place]
            mark_written(parameter.data)
            if counts[group]:
                recorded = optimizer.state.setdefault(parameter, {})
                recorded["step"] = recorded.get("step", 0) + 1

    def _record_arrays(self, updated: list[tuple[int, int]], names: dict[int, tuple[str, ...]]) -> None:
        """Give the trainer's optimizer the arrays that a step has left in the shared memory."""
        for place, group in updated:
            for name in names.get(group, ()):  # no worker names a group of empty parameters
                array = self.memory.array(self.memory.state[name], place)
                self.trainer.optimizer.state.setdefault(self.parameters[place], {})[name] = array
        self._updated, self._names, self._taken_over = updated, names, self._arrays()

    # -- evaluation

    def evaluate(self, model: Module, batches: Sequence[Any], loss: Loss) -> float:
        """The mean loss over all targets of `batches`, to the bit as one process computes it. Units: nats per target"""
        if not self._bring_up_to_date():
            team = self._begin_anew()
            return (team.evaluate if team else evaluate)(model, batches, loss)
        parts = self.processes.call("losses", batches)
        self._collect_counts()
        self._changes.note()
        totals = [sum(losses) for losses in zip(*parts, strict=True)]
        return mean_over_targets(totals, [count_targets(batch) for batch in batches])

    def _collect_counts(self) -> None:
        """Let a loss that counts, such as right answers, count those of all rows."""
        if hasattr(self._loss, "add_counts"):
            for counts in self.processes.call("take_counts")[1:]:
                self._loss.add_counts(counts)

    # -- moving in and out

    def _membership(self) -> dict[Tensor, int | None]:
        """Every parameter to train, in the order of the optimizer's groups, and its group; None for those in none."""
        groups = self.trainer.optimizer.param_groups
        found: dict[Tensor, int | None] = {
            p: number for number, group in enumerate(groups) for p in group["params"] if p.requires_grad
        }
        return found | {p: None for p in self.trainer.model.parameters() if p.requires_grad and p not in found}

    def _move_in(self) -> None:
        """Move the weights and the optimizer's arrays into the shared memory."""
        memory = self.memory
        for index, parameter in enumerate(self.parameters):
            shared = memory.array(memory.weights, index)
            shared[...] = parameter.data
            parameter.data = shared
            recorded = self.trainer.optimizer.state.get(parameter, {})
            for name in memory.state.keys() & recorded.keys():
                array = memory.array(memory.state[name], index)
                array[...] = recorded[name]
                recorded[name] = array

    def _arrays(self) -> list[Any]:
        """The arrays of the trainer's parameters and of its optimizer's state; None for one that is not there."""
        entries, names = self.trainer.optimizer.state.values(), self.memory.state
        return [p.data for p in self.parameters] + [entry.get(name) for entry in entries for name in names]

    def _bring_up_to_date(self) -> bool:
        """Send the workers what a callback has changed; False if they must be started anew."""
        changes = None if self.processes.ended or self._have_changed() else self._changes.to_send()
        if changes:
            self.processes.call("set_attributes", changes)
        return changes is not None

    def _begin_anew(self) -> Workers | None:
        """Start other workers in place of these, as `started` does; None where the trainer then goes on alone."""
        trainer = self.trainer
        self.leave()
        trainer.team = None
        trainer.team = _team(trainer, self._method)
        return trainer.team

    def _have_changed(self) -> bool:
        """Whether a callback has replaced what the workers were started with, such as an array or a group."""
        trainer = self.trainer
        if trainer.loss is not self._loss or trainer.optimizer is not self._optimizer:
            return True
        if self._membership() != self._groups:
            return True
        arrays, before = self._arrays(), self._taken_over
        return len(arrays) != len(before) or any(map(operator.is_not, arrays, before))

    def leave(self) -> None:
        """End the workers, and give the trainer arrays of its own again."""
        if hasattr(self, "processes"):
            self.processes.kill()
        for parameter in self.parameters:
            if parameter.grad is not None:
                parameter.grad = parameter.grad.copy()
            parameter.data = buffers.copy(parameter.data)
        for recorded in self.trainer.optimizer.state.values():
            for name in self.memory.state.keys() & recorded.keys():
                recorded[name] = buffers.copy(recorded[name])
        self._taken_over.clear()
