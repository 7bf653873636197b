"""The record of a search: its rungs, its trials and what they reached; `search.json` in the folder of the search.

runs/search/
  search.json              this record, replaced whenever a run has reached a rung
  tinygrad_tokenizer.json  the tokenizer of all trials, and ids/, their text
  trial-01/                an ordinary run folder for each trial, or trial-01-seed-0/ for each of its seeds
"""

from __future__ import annotations

import dataclasses
import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tinygrad_llm.errors import CheckpointError, ConfigError
from tinygrad_llm.formats import read_json_object, write_json

RECORD = "search.json"
VERSION = 1


@dataclass(frozen=True)
class Rung:
    """So many trials, the best of the rung before, are trained to this step."""

    steps: int
    trials: int


@dataclass
class TrialRun:
    """One run of a trial: its seed, its folder's name, and its validation loss at each rung it has reached.

    A loss of None was not finite. `diverged_after` is the last step of a run that ended in a loss or gradient that was
    not finite. Units: losses in nats per token; seconds in which this program trained and evaluated it
    """

    seed: int
    folder: str
    losses: dict[int, float | None] = field(default_factory=dict)
    diverged_after: int | None = None
    seconds: float = 0.0


@dataclass
class Trial:
    """One choice of the settings that vary, and its runs, one per seed."""

    number: int
    settings: dict[str, Any]
    runs: list[TrialRun]

    def losses_at(self, steps: int) -> list[float]:
        """The finite losses of its runs at this step."""
        losses = (run.losses.get(steps) for run in self.runs)
        return [loss for loss in losses if loss is not None]

    def loss_at(self, steps: int) -> float:
        """The mean loss of its runs at this step; infinite unless all of them have reached it with a finite one."""
        losses = self.losses_at(steps)
        return statistics.fmean(losses) if len(losses) == len(self.runs) else math.inf

    @property
    def diverged_after(self) -> int | None:
        """The first step after which a run diverged."""
        return min((run.diverged_after for run in self.runs if run.diverged_after is not None), default=None)

    @property
    def seconds(self) -> float:
        return sum(run.seconds for run in self.runs)


@dataclass
class SearchRecord:
    """What a search was asked for (the flags of its command), its rungs and its trials."""

    request: dict[str, Any]
    rungs: list[Rung]
    trials: list[Trial]

    def trials_of(self, rung: int) -> list[Trial]:
        """The trials that are trained to a rung, from 0: the best of the rung before, in the order of their numbers."""
        if rung == 0:
            return self.trials
        before = self.rungs[rung - 1].steps
        ranked = sorted(self.trials_of(rung - 1), key=lambda trial: (trial.loss_at(before), trial.number))
        finite = [trial for trial in ranked if math.isfinite(trial.loss_at(before))]
        return sorted(finite[: self.rungs[rung].trials], key=lambda trial: trial.number)

    def ranked(self) -> list[Trial]:
        """All trials, the best first: those that came further before others, then by their loss there."""

        def rank(trial: Trial) -> tuple[int, float, int]:
            reached = [rung.steps for rung in self.rungs if math.isfinite(trial.loss_at(rung.steps))]
            return -len(reached), trial.loss_at(reached[-1]) if reached else math.inf, trial.number

        return sorted(self.trials, key=rank)

    def best(self) -> Trial | None:
        """The trial with the lowest loss at the last rung; None before any has reached it."""
        first = self.ranked()[0]
        return first if math.isfinite(first.loss_at(self.rungs[-1].steps)) else None

    def save(self, folder: Path) -> None:
        """Replace the record on disk. Raises: CheckpointError"""
        write_json(folder / RECORD, {"version": VERSION, **self.to_dict()})

    def to_dict(self) -> dict[str, Any]:
        """The record as JSON holds it, with the best run's folder and loss once there is one."""
        best = self.best()
        found = None
        if best is not None:
            run = min(best.runs, key=lambda run: run.losses[self.rungs[-1].steps] or math.inf)
            found = {"trial": best.number, "run": run.folder, "val_loss": best.loss_at(self.rungs[-1].steps)}
        content = dataclasses.asdict(self)
        for run in (run for trial in content["trials"] for run in trial["runs"]):
            run["losses"] = {str(steps): loss for steps, loss in run["losses"].items()}
        return {**content, "best": found}

    @classmethod
    def read(cls, folder: Path) -> SearchRecord:
        """The record of the search in a folder. Raises: FormatError, CheckpointError for another file"""
        content = read_json_object(folder / RECORD)
        try:
            if content["version"] > VERSION:
                raise CheckpointError(f"{folder / RECORD}: written by a newer version of this package; update it")
            rungs = [Rung(int(rung["steps"]), int(rung["trials"])) for rung in content["rungs"]]
            trials = [
                Trial(int(trial["number"]), dict(trial["settings"]), [_run_of(run) for run in trial["runs"]])
                for trial in content["trials"]
            ]
            if not rungs or not trials or not all(trial.runs for trial in trials):
                raise ValueError("it has no rungs or no trials")
            return cls(dict(content["request"]), rungs, trials)
        except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
            raise CheckpointError(f"{folder / RECORD}: must be what `search` wrote; {str(error)[:200]}") from error


def _run_of(content: Mapping[str, Any]) -> TrialRun:
    losses = {int(step): None if loss is None else float(loss) for step, loss in content["losses"].items()}
    diverged, folder = content["diverged_after"], str(content["folder"])
    if Path(folder).name != folder:
        raise ValueError(f"a run's folder must be a plain name; got {folder!r}")
    return TrialRun(int(content["seed"]), folder, losses, diverged and int(diverged), float(content["seconds"]))


def rungs_of(trials: int, steps: int, factor: int) -> list[Rung]:
    """Successive halving: each rung keeps 1/factor of the trials and multiplies their steps by it.

    The last has `steps` steps, rounded up so that every rung has whole ones (Jamieson and Talwalkar 2016,
    arXiv:1502.07943).

    >>> [(rung.steps, rung.trials) for rung in rungs_of(trials=8, steps=600, factor=2)]
    [(75, 8), (150, 4), (300, 2), (600, 1)]

    Raises: ConfigError for fewer steps than the last rung's multiple of the first
    """
    counts = [trials]
    while counts[-1] > 1:
        counts.append(max(1, counts[-1] // factor))
    multiple = factor ** (len(counts) - 1)
    if steps < multiple:
        raise ConfigError(
            f"--steps must be at least {multiple} for {trials} trials in {len(counts)} rungs; got {steps}: give more "
            "steps or fewer trials"
        )
    first = -(-steps // multiple)
    return [Rung(first * factor**rung, count) for rung, count in enumerate(counts)]


def steps_of(rungs: Sequence[Rung]) -> int:
    """The optimizer steps of all rungs together, for one seed."""
    before = [0, *(rung.steps for rung in rungs[:-1])]
    return sum(rung.trials * (rung.steps - step) for rung, step in zip(rungs, before, strict=True))
