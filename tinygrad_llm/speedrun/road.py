"""The stages of a speedrun, each an ordinary run in an ordinary run folder, and the time that each is given.

    size        tokens per second at a few sizes; with enough minutes, small trainings on the text too; the best size
    base        tokenizer and pretraining on the text (`train`)
    instruct    instructions with computed answers (`instruct train`)
    reinforce   GRPO, rewarded for right answers (`reinforce`)

A training stage begins its run, measures its first steps while the learning rate warms up, then decides how many steps
fill the stage's share of the minutes that are left, and resumes the run with so many. Warm-up does not depend on the
number of steps, so the run is the same, to the bit, as one that was begun with this number. After each training the
model answers the same held-out records.
"""

from __future__ import annotations

import contextlib
import dataclasses
import io
import math
import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tinygrad_llm.architectures import ARCHITECTURES
from tinygrad_llm.data import TASKS
from tinygrad_llm.formats import read_json_object, write_json
from tinygrad_llm.measure.scaling_law import LEAST_POINTS, ScalingLaw, best_size
from tinygrad_llm.runs import StatusLine, duration
from tinygrad_llm.runs.checkpoints import checkpoint_steps
from tinygrad_llm.runs.hints import command
from tinygrad_llm.speedrun import choosing
from tinygrad_llm.speedrun.budget import TRAINED, Budget
from tinygrad_llm.speedrun.choosing import RECORDED, as_flags, learning_rate_for, optimization
from tinygrad_llm.speedrun.journal import Journal
from tinygrad_llm.speedrun.measuring import (
    ANSWERS,
    MEASURES,
    STYLE,
    RunCommand,
    measures_of,
    step_seconds,
    write_validation_text,
)

STAGES = ("size", *TRAINED)
IDS, VALIDATION = "ids", "validation.txt"
UNPLANNED = 1_000_000  # steps of a run whose number of steps is not decided yet
TIMED_STEPS = 10  # fewer than warm-up has
LEAST_STEPS = {"base": 60, "instruct": 150, "reinforce": 20}  # fewer teach nothing, however busy the machine is
EVALUATIONS = 8  # of a training, each with a checkpoint
EVALUATION_SEED = 1000  # added to the speedrun's: the records that are answered after each stage
ANSWER_TOKENS = 32
RECORDS_PER_BATCH = 32
MOST_RECORDS = 200_000
GRPO = {"questions": 16, "group_size": 16, "batch_size": 256, "beta": 0.01, "weight_decay": 0.0}
GRPO_LEARNING_RATE = 5e-4  # by AdamW: with twice as much, the policy left its start without learning
MOST_KINDS = 8  # of which GRPO learns in a speedrun
LEARNABLE = (0.02, 0.98)  # accuracy of a kind of which GRPO learns: its answers are neither all right nor all wrong


class Road:
    """The stages over the folder of `journal`; `run_command(words)` carries out a command line and returns its exit
    code.
    """

    def __init__(self, journal: Journal, run_command: RunCommand, status: StatusLine) -> None:
        self.journal, self.folder, self.status = journal, journal.folder, status
        self.budget, self.run_command = Budget(journal.settings.seconds), run_command
        self.asked = journal.settings

    def walk(self) -> int:
        """Carry out the stages that are not finished. Returns the exit code: 0, or that of an interrupted command."""
        for number, name in enumerate(STAGES, 1):
            if self.journal.finished(name):
                self.status.say(f"{number}. {name}: finished before")
                continue
            self.status.say(f"\n{number}. {name}, {duration(self.journal.seconds())} after the start")
            with self.journal.working(name):
                code: int = getattr(self, f"_{name}")()
            if code:
                return code
            self.journal.stage(name)["finished"] = True
            self.journal.save()
        return 0

    # -- the size

    def _size(self) -> int:
        record = self.journal.stage("size")
        if "speeds" not in record:
            record["speeds"] = choosing.measured_speeds(self.asked, self.budget.speed, self._renew)
            self.journal.save()
        if self.budget.study and "law" not in record and (code := self._study(record)):
            return code
        record |= chosen_size(record, self.budget)
        speed = choosing.speed_of(record["speeds"])
        self.status.say(
            f"{record['parameters']:,} parameters: the best of the scaling law for {duration(record['seconds'])} of "
            f"training at {float(speed.tokens(record['parameters'], 1.0)):,.0f} tokens/s"
        )
        return 0

    def _study(self, record: dict[str, Any]) -> int:
        """Small trainings on the text, and the law fitted to them."""
        speed = choosing.speed_of(record["speeds"])
        if "grid" not in record:
            best = chosen_size(record, self.budget)["best"]
            record["grid"] = sorted(set(choosing.study_grid(best, speed, self.budget.study)))
            self.journal.save()
        if len(record["grid"]) < LEAST_POINTS:
            self.status.say("this machine is too slow for a scaling law in this time: the recorded one is used")
            return 0
        runs = []
        for size, steps in record["grid"]:
            runs.append(self.folder / "size" / f"{size}-{steps}")
            if code := self._carry_out(runs[-1], self._pretraining(size), steps, eval_interval=0):
                return code
        encoded = choosing.encoded_text(runs[0], self.folder / IDS)
        points = [choosing.point_of(run, encoded) for run in runs]
        record["unique_tokens"] = len(encoded.train)
        record |= choosing.law_of(points, len(encoded.train))
        return 0

    # -- the trainings

    def _base(self) -> int:
        size = self.journal.stage("size")["parameters"]
        return self._training("base", self._pretraining(size)) or self._evaluation("base")

    def _pretraining(self, size: int) -> list[str]:
        return choosing.pretraining(self.asked, self.folder / IDS, size)

    def _instruct(self) -> int:
        size = self.journal.stage("size")["parameters"]
        settings = {
            "model": self.folder / "base",
            "kinds": "",
            "records": self._records(),
            "style": STYLE,
            "batch_size": RECORDS_PER_BATCH,
            "test_records": len(TASKS),
            "max_new_tokens": ANSWER_TOKENS,
            **optimization(self.asked, learning_rate_for(size)),
        }
        return self._training("instruct", ["instruct", "train", *as_flags(settings)]) or self._evaluation("instruct")

    def _records(self) -> int:
        """Training records, about as many as the time allows to read once, at the base model's speed."""
        seconds = self.budget.of_stage("instruct", self.journal.seconds(), self._overhead())
        batches = seconds / float(self.journal.stage("base")["seconds_per_step"])
        return min(MOST_RECORDS, max(2000, 1000 * math.ceil(batches * RECORDS_PER_BATCH / 1000)))

    def _reinforce(self) -> int:
        kinds = learnable_kinds(read_json_object(self.folder / "instruct" / ANSWERS))
        if not kinds:
            self.journal.stage("reinforce")["skipped"] = True
            self.status.say(
                "skipped: there is no kind of instructions that is answered right sometimes, but not always"
            )
            return 0
        settings = {
            "model": self.folder / "instruct",
            "method": "grpo",
            "kinds": ",".join(kinds),
            "records": 4000,
            **GRPO,
            "test_records": len(TASKS),
            "max_new_tokens": ANSWER_TOKENS,
            **optimization(self.asked, GRPO_LEARNING_RATE, "adamw"),
        }
        return self._training("reinforce", ["reinforce", *as_flags(settings)]) or self._evaluation("reinforce")

    def _training(self, name: str, words: Sequence[str]) -> int:
        """Begin or resume the run of a stage, with as many steps as its time allows."""
        record, run = self.journal.stage(name), self.folder / name
        words = record.setdefault("words", list(words))  # those that the run was begun with
        if "steps" not in record:
            with contextlib.redirect_stdout(io.StringIO()):  # of a run that stops at once
                self._renew(f"measuring the first {TIMED_STEPS} steps")
                if code := self._carry_out(run, words, UNPLANNED, stop_at=TIMED_STEPS, eval_interval=0):
                    return code
            record["seconds_per_step"] = statistics.median(step_seconds(run)[2:])
            seconds = self.budget.of_stage(name, self.journal.seconds(), self._overhead())
            record["seconds"] = seconds
            record["steps"] = max(LEAST_STEPS[name], int(seconds / record["seconds_per_step"]))
        steps = record["steps"]
        interval = math.ceil(steps / EVALUATIONS)
        record["command"] = [*words, *as_flags({"steps": steps, "eval_interval": interval, "out": run})]
        self.journal.save()
        self.status.say(f"{steps:,} steps in about {duration(record['seconds'])}: {command(*record['command'])}")
        return self._carry_out(run, words, steps, eval_interval=interval)

    def _carry_out(self, run: Path, words: Sequence[str], steps: int, **more: Any) -> int:
        """Begin the run of a command, or resume it if it has a checkpoint."""
        flags = as_flags({"out": run, "steps": steps, **more})
        if checkpoint_steps(run):
            made_by = [word for word in words[:2] if not word.startswith("-")]
            return self.run_command([*made_by, "--resume", *flags])
        return self.run_command([*words, *flags])

    # -- what the model can do after a stage

    def _evaluation(self, name: str) -> int:
        run, record = self.folder / name, self.journal.stage(name)
        count = self.budget.held_out_per_kind * len(TASKS)
        settings = {
            "model": run,
            "kinds": "",
            "records": count,
            "seed": self.asked.seed + EVALUATION_SEED,
            "style": STYLE,
            "max_new_tokens": ANSWER_TOKENS,
            "report": run / ANSWERS,
        }
        words = ["instruct", "evaluate", *as_flags(settings)]
        record["evaluation_command"] = words
        started = self.journal.seconds()
        with contextlib.redirect_stdout(io.StringIO()):
            self._renew(f"answering {count} held-out records")
            if code := self.run_command(words):
                return code
            validation = self.folder / VALIDATION
            if not validation.exists():
                write_validation_text(run, choosing.encoded_text(run, self.folder / IDS), validation)
            measures = measures_of(run, validation, self.asked.seed, self.run_command)
            write_json(run / MEASURES, measures)
        record["evaluation_seconds"] = self.journal.seconds() - started
        record["overhead"] = max(self.journal.seconds(name) - sum(step_seconds(run)), 0.0)
        right = read_json_object(run / ANSWERS)["exact_match"]
        self.status.say(
            f"{right:.1%} of {count} held-out records answered right; {measures['text']['bits_per_byte']:.3f} bits per "
            f"byte of the text, {measures['answers']['bits_per_byte']:.3f} of the right answers"
        )
        return 0

    def _overhead(self) -> float | None:
        """The longest time that a stage has taken beside its training. Units: seconds"""
        spent = [self.journal.stage(name).get("overhead") for name in TRAINED]
        return max((one for one in spent if one is not None), default=None)

    def _renew(self, words: str) -> None:
        self.status.renew(lambda: words, immediately=True)


def chosen_size(record: dict[str, Any], budget: Budget) -> dict[str, Any]:
    """The best size for the base model's time, by the speeds and the law in `record`, or the recorded law."""
    law = ScalingLaw(**record["law"]) if "law" in record else RECORDED
    speed = choosing.speed_of(record["speeds"])
    seconds = budget.of_stage("base", budget.speed + budget.study)
    best = best_size(law, speed, seconds, record["unique_tokens"])
    parameters = ARCHITECTURES[choosing.ARCHITECTURE].parameters(choosing.config_of(best))
    return {
        "seconds": seconds,
        "recorded_law": RECORDED.to_dict(),
        "speed": dataclasses.asdict(speed),
        "best": best,
        "parameters": parameters,
    }


def learnable_kinds(evaluation: dict[str, Any]) -> list[str]:
    """The kinds that the model answers right sometimes, but not always: the MOST_KINDS nearest to a half."""
    low, high = LEARNABLE
    right = {kind: figures["exact_match"] for kind, figures in evaluation["kinds"].items()}
    nearest = sorted((kind for kind in right if low < right[kind] < high), key=lambda kind: abs(right[kind] - 0.5))
    return sorted(nearest[:MOST_KINDS])
