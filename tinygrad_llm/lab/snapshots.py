"""Snapshots of a training in memory: all that the next step depends on, within a budget of bytes.

A ring of snapshots, dense enough that every step is near one: rewinding restores the nearest snapshot before the step
and repeats the steps from there, with the same result to the last bit.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import Any

import numpy as np

from tinygrad_llm.arrays import Array
from tinygrad_llm.lab.edits import Edits
from tinygrad_llm.train import Trainer

BUDGET = 400_000_000  # bytes of all snapshots of one training: 1,000 of the small GPT, 2 of 12M parameters
INTERVAL = 10  # steps between snapshots


@dataclass(frozen=True)
class Snapshot:
    """A training after `step` steps and the edits `applied` so far: weights, moments, gradients and positions.

    Gradients are kept where a step leaves any behind, as one of the faults does.
    """

    step: int
    applied: Edits
    weights: dict[str, Array]
    optimizer: dict[str, Any]
    gradients: dict[str, Array]
    position: dict[str, Any]  # of the loader and the random generators

    @classmethod
    def of(cls, trainer: Trainer, applied: Edits) -> Snapshot:
        gradients = {name: np.array(p.grad) for name, p in trainer.model.named_parameters() if p.grad is not None}
        return cls(
            trainer.step,
            applied,
            {name: np.array(x) for name, x in trainer.model.state_dict().items()},
            _copied(trainer.optimizer.state_dict()),
            gradients,
            trainer.state(),
        )

    def restore(self, trainer: Trainer) -> None:
        """Put `trainer` where the snapshot was taken."""
        trainer.model.load_state_dict(self.weights)
        trainer.optimizer.load_state_dict(self.optimizer)
        for name, parameter in trainer.model.named_parameters():
            parameter.grad = np.array(self.gradients[name]) if name in self.gradients else None
        trainer.set_state(self.position)

    @functools.cached_property
    def bytes(self) -> int:
        moments = [x for entry in self.optimizer["state"].values() for x in entry.values() if isinstance(x, np.ndarray)]
        return sum(x.nbytes for x in (*self.weights.values(), *self.gradients.values(), *moments))


class Ring:
    """Snapshots of at most `budget` bytes together; where a new one does not fit, the least useful one goes.

    That is the one whose neighbours are nearest to each other; the first and the newest stay.
    """

    def __init__(self, budget: int = BUDGET) -> None:
        self.budget = budget
        self.used = 0  # bytes
        self.snapshots: list[Snapshot] = []  # in the order in which they were taken

    def add(self, snapshot: Snapshot) -> bool:
        """Keep a snapshot, unless there is one of this moment or it does not fit; says whether it is kept."""
        if self.find(snapshot.applied, snapshot.step) is not None:
            return True
        while self.snapshots and self.used + snapshot.bytes > self.budget:
            if len(self.snapshots) == 1:
                return False
            dropped = self._least_useful()
            self.snapshots = [one for one in self.snapshots if one is not dropped]
            self.used -= dropped.bytes
        if snapshot.bytes > self.budget:
            return False
        self.snapshots.append(snapshot)
        self.used += snapshot.bytes
        return True

    def find(self, applied: Edits, step: int) -> Snapshot | None:
        """The snapshot of exactly this moment."""
        return next((one for one in self.snapshots if one.step == step and one.applied == applied), None)

    def nearest(self, edits: Edits, step: int) -> Snapshot | None:
        """The last snapshot on the way to `step` of the branch with these edits."""
        on_the_way = [one for one in self.snapshots if is_on_the_way(one.step, one.applied, edits, step)]
        return max(on_the_way, key=lambda one: (one.step, len(one.applied)), default=None)

    def _least_useful(self) -> Snapshot:
        """The snapshot whose neighbours on the same branch are nearest to each other; of ties the earliest."""
        kept = {id(self.snapshots[0]), id(self.snapshots[-1])}
        in_order = sorted(self.snapshots, key=lambda one: (str(one.applied), one.step))
        gaps: dict[tuple[int, int], Snapshot] = {}
        for before, one, after in zip([None, *in_order], in_order, [*in_order[1:], None], strict=False):
            start = before.step if before is not None and before.applied == one.applied else 0
            stop = after.step if after is not None and after.applied == one.applied else one.step + INTERVAL
            if id(one) not in kept:
                gaps[stop - start, len(gaps)] = one
        return gaps[min(gaps)] if gaps else self.snapshots[-1]


def is_on_the_way(at: int, applied: Edits, edits: Edits, step: int) -> bool:
    """Whether a training at step `at` with these edits `applied` comes to `step` of the branch with `edits`.

    It has applied the first of them, and none of the others was due before it.
    """
    count = len(applied)
    return at <= step and applied == edits[:count] and all(edit.step >= at for edit in edits[count:])


def _copied(value: Any) -> Any:
    """A state dict with copies of its arrays."""
    if isinstance(value, dict):
        return {key: _copied(one) for key, one in value.items()}
    if isinstance(value, list):
        return [_copied(one) for one in value]
    return np.array(value) if isinstance(value, np.ndarray) else value
