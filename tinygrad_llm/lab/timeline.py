"""A training that can go back: a Trainer, its branches, and the snapshots from which every step can be computed again.

    timeline.rewind(main, 50)    restores the nearest snapshot before step 50; the steps from there are taken again
    timeline.moment(main, 50)    the model after step 50, in a second trainer: this one stays where it is

Given start, data, seeds and edits, every step is the same to the last bit, so records of a step never change.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from typing import Any

from tinygrad_llm.errors import ConfigError
from tinygrad_llm.lab.edits import Edit, Edits, RateEdit, text_of
from tinygrad_llm.lab.snapshots import INTERVAL, Ring, Snapshot, is_on_the_way
from tinygrad_llm.lab.watching import LastBatch, WatchedOptimizer, layers_of
from tinygrad_llm.train import Callback, Trainer
from tinygrad_llm.verify.fault import Fault

MAIN = "main"
MOST_BRANCHES = 50


@dataclass
class Branch:
    """A name for what the same start becomes with these edits; `records` hold the figures of its steps, in order."""

    name: str
    edits: Edits = ()
    records: list[dict[str, Any]] = field(default_factory=list)


@dataclass(frozen=True)
class Moment:
    """A training after a step, for a look. If that step was taken for it, the optimizer has its gradients."""

    label: str
    trainer: Trainer
    optimizer: WatchedOptimizer
    batch: Any = None  # the last that was trained on


class Timeline:
    """One training. `start()` makes its Trainer as it was at the first step; `fault` is switched on in all it does.

    Its records have the keys of `Recorder.step_finished`. Units: losses in nats per token
    """

    def __init__(self, start: Callable[[], Trainer], fault: Fault | None = None, ring: Ring | None = None) -> None:
        self.start, self.fault = start, fault
        self.ring = Ring() if ring is None else ring
        self.branches = {MAIN: Branch(MAIN)}
        self.branch = self.branches[MAIN]
        self.applied: Edits = ()
        self.trainer, self.optimizer, self.batch = self._new_trainer()
        self.first_step = self.trainer.step
        self.sample: Callable[[Trainer], str | None] = lambda _: None  # a generated text, after steps where one is due
        self.keep_snapshot()
        self._replica: Timeline | None = None

    def record_steps(self) -> None:
        """From now on, note the figures of every step."""
        self.recorder = Recorder(self)
        self.trainer.callbacks.append(self.recorder)
        parameters = dict(self.trainer.model.named_parameters())
        layers = layers_of(self.trainer.model)
        self.optimizer.measured = {layer: [parameters[name] for name in names] for layer, names in layers.items()}

    def _new_trainer(self) -> tuple[Trainer, WatchedOptimizer, LastBatch]:
        with self.mistaken():
            trainer = self.start()
        batch = LastBatch(trainer.loss)
        trainer.loss = batch
        optimizer = WatchedOptimizer(trainer.optimizer)
        trainer.optimizer = optimizer  # type: ignore[assignment]  # it has an optimizer's methods
        schedule = trainer.learning_rate
        trainer.learning_rate = lambda step: self.rate_at(step, schedule)
        return trainer, optimizer, batch

    @contextmanager
    def mistaken(self) -> Iterator[None]:
        """The fault of this timeline is on inside the block."""
        with nullcontext() if self.fault is None else self.fault.on():
            yield

    # -- where it is

    @property
    def step(self) -> int:
        return self.trainer.step

    @property
    def label(self) -> str:
        return f"{self.branch.name}@{self.step}"

    def rate_at(self, step: int, schedule: Callable[[int], float]) -> float:
        """The learning rate of the step after `step`: the last edit of it, else the schedule's."""
        rates = [edit.rate for edit in self.branch.edits if isinstance(edit, RateEdit) and edit.step <= step]
        return rates[-1] if rates else schedule(step)

    def last_step(self, branch: Branch) -> int:
        """The last step whose figures are known."""
        return branch.records[-1]["step"] if branch.records else self.first_step

    def knows(self, step: int) -> bool:
        """Whether the figures of this step were noted before."""
        return step <= self.last_step(self.branch)

    # -- going forward

    def step_taken(self, record: dict[str, Any]) -> None:
        """Note the figures of the step just taken, unless it had been taken before; do what is due after it."""
        if not self.knows(record["step"]):
            self.branch.records.append(record)
        self.apply_edits()
        if self.step % INTERVAL == 0:
            self.keep_snapshot()

    def apply_edits(self) -> None:
        """Apply the edits of the branch that are due at this step."""
        for edit in self.branch.edits[len(self.applied) :]:
            if edit.step > self.step:
                break
            edit.apply(self.trainer.model)
            self.applied = (*self.applied, edit)

    def keep_snapshot(self) -> bool:
        """Keep a snapshot of this moment; says whether the budget holds it."""
        if self.ring.find(self.applied, self.step) is not None:
            return True
        return self.ring.add(Snapshot.of(self.trainer, self.applied))

    def train_to(self, step: int) -> None:
        """Take steps until `step`. Raises: AnomalyError"""
        with self.mistaken():
            while self.step < step:
                self.trainer.train(self.step + 1)
                self.apply_edits()

    # -- branches

    def edit(self, edit: Edit, name: str) -> Branch:
        """Begin a branch at this step with one more edit, and go on with it.

        Raises: ConfigError for a name that is taken, or an edit that does not fit the model
        """
        self.keep_snapshot()
        self.add_branch(name, (*self.applied, edit))
        try:
            edit.apply(self.trainer.model)
        except ConfigError:
            del self.branches[name]
            raise
        self.branch, self.applied = self.branches[name], (*self.applied, edit)
        self.keep_snapshot()
        return self.branch

    def add_branch(self, name: str, edits: Edits) -> Branch:
        """A branch with these edits; it shares the records of the branch with which it agrees for longest.

        Raises: ConfigError for a name that is taken by other edits, or too many branches
        """
        taken = self.branches.get(name)
        if taken is not None and taken.edits == edits:
            return taken
        if taken is not None:
            raise ConfigError(f"a branch {name} exists already, with other edits ({text_of(taken.edits) or 'none'})")
        if len(self.branches) >= MOST_BRANCHES:
            raise ConfigError(f"a training has at most {MOST_BRANCHES} branches")
        shared: list[dict[str, Any]] = []
        for other in self.branches.values():
            until = _agree_until(other.edits, edits)
            records = [record for record in other.records if record["step"] <= until]
            shared = max(shared, records, key=len)
        self.branches[name] = Branch(name, edits, list(shared))
        return self.branches[name]

    # -- going to another step

    def rewind(self, branch: Branch, step: int) -> None:
        """Put the training at the last moment before `step` from which the branch can go on.

        That is this moment, if it lies on the way, or a snapshot.

        Raises: ConfigError for a step before the first, or one that no snapshot leads to
        """
        if step < self.first_step:
            raise ConfigError(f"steps begin at {self.first_step}; got {step}")
        snapshot = self.ring.nearest(branch.edits, step)
        on_the_way = self._is_on_the_way(branch.edits, step)
        if snapshot is None and not on_the_way:
            raise ConfigError(
                f"going back needs a snapshot: one takes {Snapshot.of(self.trainer, self.applied).bytes:,} bytes, and "
                f"all together may take {self.ring.budget:,}"
            )
        if snapshot is not None and not (on_the_way and self.step >= snapshot.step):
            snapshot.restore(self.trainer)
            self.applied = snapshot.applied
        self.branch = branch
        self.apply_edits()

    def adopt(self, snapshot: Snapshot, branch: Branch) -> None:
        """Go to a snapshot that another training of the same start has taken."""
        self.ring.add(snapshot)
        snapshot.restore(self.trainer)
        self.branch, self.applied = branch, snapshot.applied

    def nearest_step(self, branch: Branch, step: int) -> int:
        """The last step before `step` from which a look can begin."""
        steps = [self.step] if self._is_on_the_way(branch.edits, step) else []
        snapshot = self.ring.nearest(branch.edits, step)
        return max([*steps, *([] if snapshot is None else [snapshot.step])], default=self.first_step)

    def _is_on_the_way(self, edits: Edits, step: int) -> bool:
        return is_on_the_way(self.step, self.applied, edits, step)

    def moment(self, branch: Branch, step: int, take_the_step: bool = False) -> Moment:
        """The model after `step` of a branch; computed in a second trainer, if this one is elsewhere.

        With `take_the_step`, the step that leads there is taken, so that its gradients and its batch are known; at the
        first step, those of the next one.
        """
        label = f"{branch.name}@{step}"
        if not take_the_step and step == self.step and branch.edits[: len(self.applied)] == self.applied:
            due = [edit for edit in branch.edits[len(self.applied) :] if edit.step <= step]
            if not due:
                return Moment(label, self.trainer, self.optimizer)
        replica = self.replica()
        own = Branch(branch.name, branch.edits)
        is_first = step == self.first_step  # no step led there: the gradients and the batch are those of the next one
        before = step if is_first or not take_the_step else step - 1
        replica.rewind(own, before)
        replica.train_to(before)
        replica.keep_snapshot()
        if take_the_step:
            with replica.optimizer.keeping_gradients():
                replica.train_to(before + 1)
            if is_first:
                replica.rewind(own, step)
        return Moment(label, replica.trainer, replica.optimizer, replica.batch.batch)

    def follow_weight(
        self, branch: Branch, step: int, name: str, index: tuple[int, ...], count: int
    ) -> list[dict[str, float]]:
        """One element through the last `count` steps before `step`: what AdamW got, kept and made of it at each."""
        replica = self.replica()
        start = max(step - count, self.first_step)
        replica.rewind(Branch(branch.name, branch.edits), start)
        replica.train_to(start)
        parameter = dict(replica.trainer.model.named_parameters())[name]
        rows = []
        with replica.optimizer.keeping_gradients(), replica.mistaken():
            while replica.step < step:
                before = float(parameter.data[index])
                rate = replica.trainer.learning_rate(replica.step)
                replica.trainer.train(replica.step + 1)
                update = float(parameter.data[index]) - before
                replica.apply_edits()
                gradient = replica.optimizer.gradients.get(parameter)
                state = replica.optimizer.state.get(parameter, {})
                rows.append(
                    {
                        "value": float(parameter.data[index]),
                        "gradient": math.nan if gradient is None else float(gradient[index]),
                        "m": float(state["exp_avg"][index]) if "exp_avg" in state else 0.0,
                        "v": float(state["exp_avg_sq"][index]) if "exp_avg_sq" in state else 0.0,
                        "update": update,
                        "rate": rate,
                    }
                )
        return rows

    def replica(self) -> Timeline:
        """A second training of the same start, which shares the snapshots of this one."""
        if self._replica is None:
            self._replica = Timeline(self.start, self.fault, self.ring)
            self._replica.trainer.validation = None  # which changes no step
        return self._replica


class Recorder(Callback):
    """Notes the figures of every step of a timeline."""

    def __init__(self, timeline: Timeline) -> None:
        self.timeline = timeline
        self._begun = 0.0

    def begin(self) -> None:
        """Start the clock of the next step."""
        self._begun = time.perf_counter()

    def started(self, trainer: Trainer) -> None:
        self.begin()

    def step_finished(self, trainer: Trainer, record: dict[str, Any]) -> None:
        optimizer = self.timeline.optimizer
        figures = {
            "step": record["step"],
            "trainLoss": record["train_loss"],
            "learningRate": record["learning_rate"],
            "gradNorm": record["grad_norm"],
            "seconds": time.perf_counter() - self._begun,
            "updates": optimizer.updates,
            "weights": optimizer.weights,
        }
        if "val_loss" in record:
            figures["valLoss"] = record["val_loss"]
        if not self.timeline.knows(record["step"]) and (sample := self.timeline.sample(trainer)) is not None:
            figures["sample"] = sample
        self.timeline.step_taken(figures)
        self.begin()


def _agree_until(edits: Edits, others: Edits) -> int:
    """The last step before which two branches are the same."""
    for i in range(max(len(edits), len(others))):
        if edits[i : i + 1] != others[i : i + 1]:
            return min(edit.step for edit in (*edits[i : i + 1], *others[i : i + 1]))
    return 1 << 62  # they are the same
