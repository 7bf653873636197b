"""The twin: a second training with the same start, data and seeds, and one fault of the fault lab."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tinygrad_llm.errors import AnomalyError
from tinygrad_llm.lab.timeline import Timeline
from tinygrad_llm.train import Trainer
from tinygrad_llm.verify.fault import Fault


class Twin:
    """A timeline with a fault, which follows another one: same branch, same step. `ended` says why it cannot go on."""

    def __init__(self, start: Callable[[], Trainer], fault: Fault, is_hidden: bool = False) -> None:
        self.fault, self.is_hidden, self.ended = fault, is_hidden, ""
        self.timeline = Timeline(start, fault)
        self.timeline.record_steps()

    def follow(self, main: Timeline, steps: int) -> bool:
        """Take at most `steps` steps after the main training; says whether any was taken."""
        timeline = self.timeline
        if self.ended or timeline.last_step(self._branch_like(main)) >= main.step:
            return False
        before = timeline.last_step(self._branch_like(main))
        try:
            timeline.rewind(self._branch_like(main), before)
            timeline.train_to(min(main.step, before + steps))
        except AnomalyError as error:
            self.ended = str(error).split(". ")[0]
        except Exception as error:  # code with a mistake may fail in any way, and ends this training alone
            self.ended = f"{type(error).__name__}: {error}"
        return True

    def _branch_like(self, main: Timeline) -> Any:
        return self.timeline.add_branch(main.branch.name, main.branch.edits)

    def describe(self) -> dict[str, Any]:
        """What the page may know of it; a hidden fault has no name."""
        return {
            "fault": None if self.is_hidden else self.fault.name,
            "hidden": self.is_hidden,
            "step": self.timeline.last_step(self.timeline.branch),
            "ended": self.ended,
        }
