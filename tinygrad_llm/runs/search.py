"""Hyper-parameter search by successive halving over ordinary run folders.

All trials are trained a little; the better half is trained twice as long, and so on, until one trial has had all steps
(Jamieson and Talwalkar 2016, arXiv:1502.07943). A trial that goes on resumes its run, to the last bit.

Every run has the schedule of the last rung and stops on it at its own. So the runs of a rung are compared at the same
point of the same schedule, and the best run is the one that `train` makes with these settings. What this cannot see:
at an early rung no run has lowered its learning rate, and high rates look worse there than they would at the end.
"""

from __future__ import annotations

import dataclasses
import math
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from tinygrad_llm.errors import AnomalyError, ConfigError, DataError
from tinygrad_llm.formats import read_metrics
from tinygrad_llm.runs.checkpoints import CHECKPOINTS, CONFIG
from tinygrad_llm.runs.encoding import encode_once
from tinygrad_llm.runs.life_cycle import Request, Training, carry_out
from tinygrad_llm.runs.plan import RunPlan
from tinygrad_llm.runs.pretraining import (
    DEFAULT_TRAINING,
    IDS,
    Pretraining,
    make_tokenizer,
    training_text,
    workers_asked_for,
)
from tinygrad_llm.runs.search_record import Rung, SearchRecord, Trial, TrialRun
from tinygrad_llm.runs.search_space import in_words
from tinygrad_llm.runs.status_line import StatusLine, duration
from tinygrad_llm.text import Tokenizer, load_tokenizer
from tinygrad_llm.text.saved import TOKENIZER_FILE

LOG = "metrics.jsonl"


def flags_of(record: SearchRecord, base: Mapping[str, Any], trial: Trial, run: TrialRun) -> dict[str, Any]:
    """The flags with which `train` makes this run. Without them in `base`, the warm-up ends in the middle of the first
    rung at the latest, and the final learning rate is a tenth of the peak, where that is given or varied.
    """
    first, last = record.rungs[0].steps, record.rungs[-1].steps
    given = {"warmup_steps": min(DEFAULT_TRAINING.warmup_steps, first // 2), **base, **trial.settings}
    if "learning_rate" in given:
        given.setdefault("min_learning_rate", given["learning_rate"] / 10)
    return {**given, "steps": last, "eval_interval": base.get("eval_interval") or first, "seed": run.seed}


class Search:
    """A search in `folder`, begun or continued: `run` trains what its record lacks, and returns an exit code."""

    def __init__(self, folder: Path, record: SearchRecord, base: Mapping[str, Any], status: StatusLine) -> None:
        self.folder, self.record, self.base, self.status = folder, record, base, status

    def run(self) -> int:
        """130 after Ctrl-C, 143 after SIGTERM, 129 after SIGHUP, 0 if all rungs are reached, 1 if all trials diverged.

        Raises: DataError for a trial that is refused, CheckpointError
        """
        tokenizer = None
        for number, rung in enumerate(self.record.rungs):
            trials = self.record.trials_of(number)
            waiting = [trial for trial in trials if any(_is_waiting(trial, run, rung) for run in trial.runs)]
            if waiting:
                tokenizer = tokenizer or self._shared_tokenizer()
                self.status.say(
                    f"rung {number + 1} of {len(self.record.rungs)}: {len(trials)} trial{'s' * (len(trials) > 1)} to "
                    f"step {rung.steps:,}"
                )
            for trial in waiting:
                for run in trial.runs:
                    if _is_waiting(trial, run, rung) and (code := self._train(trial, run, rung, Trialling(tokenizer))):
                        return code
                self.status.say(f"  trial {trial.number}: {self._reached(trial, rung)}; {in_words(trial.settings)}")
        return 0 if self.record.best() is not None else 1

    def _shared_tokenizer(self) -> Tokenizer:
        """The tokenizer of all trials, whose text is encoded with it."""
        trial = self.record.trials[0]
        plan = Pretraining().new_plan(flags_of(self.record, self.base, trial, trial.runs[0]))
        text = training_text(plan, self.status)
        if (self.folder / TOKENIZER_FILE).exists():
            tokenizer = load_tokenizer(self.folder)
        else:
            tokenizer = make_tokenizer(plan, text, self.status)
            tokenizer.save(self.folder)
        encode_once(text, tokenizer, self.folder / IDS, self.status, workers_asked_for(plan))
        return tokenizer

    def _train(self, trial: Trial, run: TrialRun, rung: Rung, task: Trialling) -> int:
        """Train a run to a rung and record its loss. Returns the exit code of an interruption, or 0."""
        out = self.folder / run.folder
        begun = (out / CONFIG).exists() and (out / CHECKPOINTS).exists()
        given = {} if begun else flags_of(self.record, {**self.base, "ids": str(self.folder / IDS)}, trial, run)
        request = Request(out, begun, {**given, "out": out}, rung.steps, keep=1)
        status = TrialStatus(f"trial {trial.number} of {len(self.record.trials)} | ", self.status)
        started = time.monotonic()
        try:
            if code := carry_out(task, request, status):
                return code
            run.losses[rung.steps] = _logged_loss(out, rung.steps)
        except (ConfigError, DataError) as error:
            raise DataError(f"trial {trial.number} ({in_words(trial.settings)}): {error}") from error
        except AnomalyError:
            run.diverged_after = max((int(record["step"] or 0) for record in _log_of(out)), default=0)
        finally:
            status.clear()
            run.seconds += time.monotonic() - started
            self.record.save(self.folder)
        return 0

    def _reached(self, trial: Trial, rung: Rung) -> str:
        loss, after = trial.loss_at(rung.steps), trial.diverged_after
        if math.isfinite(loss):
            return f"validation loss {loss:.4f}, {duration(trial.seconds)}"
        return "validation loss not finite" if after is None else f"diverged after step {after:,}"


class Trialling(Pretraining):
    """The task of `train`, with a tokenizer that exists already."""

    def __init__(self, tokenizer: Tokenizer | None) -> None:
        super().__init__()
        self.tokenizer = tokenizer

    def prepare(self, plan: RunPlan, out: Path, tokenizer: Tokenizer | None, status: StatusLine) -> Training:
        tokenizer = tokenizer or self.tokenizer
        if tokenizer is not None:
            plan = dataclasses.replace(plan, model={**plan.model, "vocab_size": tokenizer.vocab_size})
        return super().prepare(plan, out, tokenizer, status)


class TrialStatus(StatusLine):
    """The status line of one trial: on a terminal it shows the trial's progress; what a run says is left out."""

    def __init__(self, prefix: str, status: StatusLine) -> None:
        super().__init__(status.stream)
        self.prefix = prefix

    def renew(self, text: Callable[[], str], immediately: bool = False) -> None:
        super().renew(lambda: self.prefix + text(), immediately)

    def say(self, text: str, colour: str = "") -> None:
        """Nothing: the search tells what a trial reached."""

    def hint(self, words: str, command: str) -> None:
        """Nothing: the run is continued by the search."""


def _is_waiting(trial: Trial, run: TrialRun, rung: Rung) -> bool:
    """Whether a run has yet to reach a rung; the other seeds of a trial that diverged need not."""
    return rung.steps not in run.losses and trial.diverged_after is None


def _log_of(out: Path) -> list[dict[str, Any]]:
    return list(read_metrics(out / LOG)) if (out / LOG).exists() else []


def _logged_loss(out: Path, step: int) -> float | None:
    """The validation loss that a run logged at this step, None where it was not finite."""
    found = (record.get("val_loss") for record in _log_of(out) if record["step"] == step)
    loss = next(found, None)
    return float(loss) if isinstance(loss, int | float) and math.isfinite(loss) else None
