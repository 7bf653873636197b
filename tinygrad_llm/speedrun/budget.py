"""How the minutes of a speedrun are divided."""

from __future__ import annotations

from dataclasses import dataclass

TRAINED = ("base", "instruct", "reinforce")  # the stages that train, in order
SHARES = {"base": 0.35, "instruct": 0.45, "reinforce": 0.20}  # of the time for training
OVERHEAD_SHARE = 0.04  # of all minutes, for each stage
LEAST_MINUTES_OF_STUDY = 20.0  # below, the recorded scaling law is used
STUDY_SHARE = 0.12  # of all minutes, for small trainings to which a scaling law is fitted
SPEED_SHARE = 0.06  # of all minutes, for measuring the speed
MOST_SPEED_SECONDS = 30.0


@dataclass(frozen=True)
class Budget:
    """The parts of so many seconds. Units: seconds of wall time"""

    seconds: float

    @property
    def speed(self) -> float:
        return min(SPEED_SHARE * self.seconds, MOST_SPEED_SECONDS)

    @property
    def study(self) -> float:
        """For small trainings, 0 where the recorded law is used."""
        return STUDY_SHARE * self.seconds if self.seconds >= 60 * LEAST_MINUTES_OF_STUDY else 0.0

    @property
    def overhead(self) -> float:
        """For what a stage does beside its training, until a first one has been timed."""
        return OVERHEAD_SHARE * self.seconds

    def of_stage(self, stage: str, spent: float, overhead: float | None = None) -> float:
        """For the training of a stage, when `spent` seconds are gone and a stage takes `overhead` beside its training,
        such as for answering the held-out records; at least 1.

        >>> budget = Budget(600.0)
        >>> round(budget.of_stage("base", 28.0)), round(budget.of_stage("reinforce", 500.0, 10.0))
        (175, 90)
        """
        later = TRAINED[TRAINED.index(stage) :]
        reserved = len(later) * (self.overhead if overhead is None else overhead)
        return max((self.seconds - spent - reserved) * SHARES[stage] / sum(SHARES[one] for one in later), 1.0)

    @property
    def held_out_per_kind(self) -> int:
        """Held-out records of each kind that are answered after each stage."""
        return max(3, min(50, round(2 * self.seconds / 60)))
