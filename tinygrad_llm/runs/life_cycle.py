"""The life cycle of a run, the same for pretraining and for every fine-tuning: begin or resume, train, report.

    begin      prepare model, data and trainer; write the run folder only when all of it has proved possible
    resume     read the plan from config.json, refuse changes to it, restore the newest whole checkpoint
    interrupt  after Ctrl-C, SIGTERM or SIGHUP: finish the step, save, say how to continue
    report     evaluate the trained model and say what to do with it

A `Task` is the part of it that differs between commands. Of several processes, only the first reads and writes
files; it sends the others what they need to train (`assist`).
"""

from __future__ import annotations

import dataclasses
import shutil
import signal
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from tinygrad_llm.architectures import architecture_of, architecture_of_config
from tinygrad_llm.errors import ConfigError, DataError
from tinygrad_llm.interop.conventions import Conventions
from tinygrad_llm.nn.init import no_initial_values
from tinygrad_llm.random import manual_seed
from tinygrad_llm.runs.hints import command
from tinygrad_llm.runs.plan import RunPlan, command_of
from tinygrad_llm.runs.progress import ProgressLog, StatusLine, duration
from tinygrad_llm.runs.run_folder import RunFolder
from tinygrad_llm.text import Tokenizer
from tinygrad_llm.train.batch_loss import Batches, Loss, language_model_loss
from tinygrad_llm.train.parallel import workers
from tinygrad_llm.train.parallel.communicator import Communicator, SingleProcess
from tinygrad_llm.train.parallel.trainer import ParallelTrainer
from tinygrad_llm.train.settings import TrainingSettings
from tinygrad_llm.train.trainer import Callback, ResumableLoader, Trainer

STOP = None  # broadcast to the other processes if there is nothing to train
# Token ids whose encoding took longer are kept even if the run is then refused. Units: seconds
SHORTEST_ENCODING_TO_KEEP = 60.0


@dataclass(frozen=True)
class Request:
    """What a command line asks for: which run folder, whether to resume it, and the settings that it names."""

    out: Path
    resume: bool
    given: Mapping[str, Any]
    stop_at: int | None = None
    keep: int = 2
    keep_every: int = 0

    @classmethod
    def of_flags(cls, given: Mapping[str, Any], out: str) -> Request:
        """The request of parsed flags, `out` being the default folder. Raises: ConfigError"""
        stop_at, keep = given.get("stop_at"), given.get("keep", 2)
        if stop_at is not None and stop_at < 0:
            raise ConfigError(f"--stop-at must be a step, at least 0; got {stop_at}")
        if keep < 1:
            raise ConfigError(f"--keep must be at least 1; got {keep}")
        keep_every = given.get("keep_every", 0)
        if keep_every < 0:
            raise ConfigError(f"--keep-every must be at least 0; got {keep_every}")
        return cls(Path(given.get("out", out)), given.get("resume", False), given, stop_at, keep, keep_every)


class Report:
    """Called before and after a training, to print and evaluate. Every method may be overridden."""

    def before(self, trainer: Trainer) -> None:
        """Called before the first step of a run, and before a checkpoint is restored."""

    def introduce(self, trainer: Trainer) -> None:
        """Print what is going to be trained."""

    def after(self, trainer: Trainer) -> None:
        """Evaluate the trained model, and print the metrics."""

    def suggest(self) -> None:
        """Print a command that uses the trained model."""

    def is_complete(self) -> bool:
        """Whether a run that has taken all its steps has also been evaluated."""
        return True


@dataclass
class Training:
    """All that a task prepares for the trainer. `plan` now includes what depends on the data, such as the model."""

    plan: RunPlan
    model: Any
    loader: ResumableLoader
    validation: Batches
    report: Report
    tokenizer: Tokenizer | None
    loss: Loss = language_model_loss
    callbacks: Sequence[Callback] = ()
    finished_weights: Callable[[Any], Mapping[str, Any]] | None = None  # see RunFolder
    conventions: Conventions | None = None  # of the model that it starts from


class Task(Protocol):
    """The part of a run that differs between the commands that train."""

    @property
    def name(self) -> str:
        """The name of the command, "" for pretraining."""

    def new_plan(self, given: Mapping[str, Any]) -> RunPlan:
        """The plan of a new run, from flags and defaults. Raises: ConfigError"""

    def resumed_plan(self, config: Mapping[str, Any], given: Mapping[str, Any]) -> RunPlan:
        """The plan of the run in `given["out"]`, with the changes that resuming allows.

        Raises: ConfigError, CheckpointError
        """

    def prepare(self, plan: RunPlan, out: Path, tokenizer: Tokenizer | None, status: StatusLine) -> Training:
        """Model, data and report; `tokenizer` is given for a resumed run. Raises: ConfigError, DataError"""


@dataclass
class LifeCycle:
    """One run of one task; `carry_out` returns the exit code of the command."""

    task: Task
    request: Request
    status: StatusLine
    communicator: Communicator

    def carry_out(self) -> int:
        self.started = time.monotonic()
        with self.status.saying_warnings():
            return self._resume() if self.request.resume else self._begin()

    def _begin(self) -> int:
        folder = RunFolder.create(self.request.out, self.request.keep, self.request.keep_every)
        with _removed_if_refused(self.request.out):
            plan = self.task.new_plan(self.request.given)
            training, trainer = self._prepare(plan, None, folder)
            training.report.before(trainer)
        with folder:
            folder.begin(training.plan.to_config(), training.tokenizer, training.conventions)
            return self._train(training, trainer)

    def _resume(self) -> int:
        out = self.request.out
        if not out.is_dir():
            raise DataError(
                f"--resume continues the run in --out; there is no run folder {out}: check the spelling, or begin a "
                f"run with `{command(*command_of(self.task.name).split(), '--out', out)}`"
            )
        with RunFolder.open(out, self.request.keep, self.request.keep_every) as folder:
            plan = self.task.resumed_plan(folder.config, {**self.request.given, "out": out})
            training, trainer = self._prepare(plan, folder.tokenizer, folder)
            training.report.before(trainer)
            for notice in folder.restore(trainer):
                self.status.say(notice)
            if trainer.step >= trainer.settings.steps and training.report.is_complete():
                done, steps = trainer.step, trainer.settings.steps
                words = (
                    f"{done:,} of {steps:,} steps" if done == steps else f"{done:,} steps, more than --steps {steps:,}"
                )
                self.status.say(f"the run in {out} is finished: {words}; --steps extends it")
                self.communicator.broadcast(STOP)
                return 0
            folder.update_config(training.plan.to_config())
            return self._train(training, trainer)

    def _prepare(self, plan: RunPlan, tokenizer: Tokenizer | None, folder: RunFolder) -> tuple[Training, Trainer]:
        manual_seed(plan.training.seed)
        training = self.task.prepare(plan, self.request.out, tokenizer, self.status)
        folder.finished_weights, folder.say = training.finished_weights, self.status.say
        trainer = new_trainer(
            training.model,
            training.loader,
            plan.training,
            training.validation,
            training.loss,
            [ProgressLog(self.status), folder, *training.callbacks],
            self.communicator,
        )
        if plan.training.workers == "auto":
            training.plan = dataclasses.replace(training.plan, workers_chosen_by="auto")
        # "auto" becomes the number that it chose, which a resumed run keeps: its last bits depend on it
        chosen = dataclasses.replace(training.plan.training, workers=trainer.workers)
        training.plan = dataclasses.replace(training.plan, training=chosen)
        return training, trainer

    def _train(self, training: Training, trainer: Trainer) -> int:
        request, settings, say = self.request, trainer.settings, self.status.say
        training.report.introduce(trainer)
        self.communicator.broadcast((training.model.config, settings, request.stop_at))
        with workers.started(trainer):
            try:
                trainer.train(request.stop_at)
            except KeyboardInterrupt as interruption:
                say(f"interrupted; saved after step {trainer.step}")
                self.status.hint("continue", self._resume_command())
                return exit_code(interruption)
            if trainer.step < settings.steps:
                say(f"stopped after step {trainer.step} of {settings.steps}")
                self.status.hint("continue", self._resume_command())
                return 0
            training.report.after(trainer)
        say(f"{duration(time.monotonic() - self.started)} in all, saved in {request.out}")
        self.status.hint("continue", self._resume_command("--steps", str(2 * settings.steps)))
        training.report.suggest()
        return 0

    def _resume_command(self, *more: str) -> str:
        words = [*command_of(self.task.name).split(), "--resume", "--out", self.request.out, *more]
        return command(*words, processes=self.communicator.size)


def carry_out(task: Task, request: Request, status: StatusLine, communicator: Communicator | None = None) -> int:
    """Begin or resume the run that was asked for, and train it. Returns the exit code of the command.

    Raises: ConfigError, DataError, CheckpointError
    """
    return LifeCycle(task, request, status, SingleProcess() if communicator is None else communicator).carry_out()


def assist(communicator: Communicator, final_batches: int) -> int:
    """The work of every process but the first: its share of each batch, in training and evaluation."""
    assignment = communicator.broadcast(STOP)
    if assignment is STOP:
        return 0
    config, settings, stop_at = assignment
    with no_initial_values():  # the weights come from the first process
        model = architecture_of_config(config).begin(config)
    trainer = ParallelTrainer(model, None, settings, communicator=communicator)
    try:
        trainer.train(stop_at)
    except KeyboardInterrupt as interruption:
        return exit_code(interruption)
    if trainer.step == settings.steps:
        trainer.evaluate(final_batches)
    return 0


def new_trainer(
    model: Any,
    loader: ResumableLoader,
    settings: TrainingSettings,
    validation: Batches,
    loss: Loss,
    callbacks: Sequence[Callback],
    communicator: Communicator,
) -> Trainer:
    """A trainer for one process, or for the first of several."""
    if communicator.size == 1:
        return Trainer(model, loader, settings, validation, loss, callbacks)
    return ParallelTrainer(model, loader, settings, validation, loss, callbacks, communicator=communicator)


def with_model(plan: RunPlan, model: Any) -> RunPlan:
    """The plan with the architecture and the settings of the model that was made for it."""
    architecture = architecture_of(model)
    return dataclasses.replace(plan, model_type=architecture.name, model=architecture.settings_of(model))


def sharing(trainer: Trainer, rows: int) -> str:
    """Which processes share each batch of so many rows, in words."""
    processes, workers = trainer.processes // trainer.workers, trainer.workers
    words = f"{workers} workers"
    if processes > 1:
        words = f"{processes} processes" + (f" of {words} each" if workers > 1 else "")
    idle = trainer.processes - rows
    return f"{words} share each batch of {rows:,} rows" + (f", and {idle} of them have none: use fewer" * (idle > 0))


def exit_code(interruption: KeyboardInterrupt) -> int:
    """130 after Ctrl-C, 143 after SIGTERM, 129 after SIGHUP."""
    return 128 + int(interruption.args[0] if interruption.args else signal.SIGINT)


@contextmanager
def _removed_if_refused(out: Path) -> Iterator[None]:
    """Remove the folder `out` if it is new and the run is refused inside the block; it holds encoded ids only.

    Ids that took long to encode are kept, for the next attempt.
    """
    existed, started = out.exists(), time.monotonic()
    try:
        yield
    except (ConfigError, DataError):
        if not existed and time.monotonic() - started < SHORTEST_ENCODING_TO_KEEP:
            shutil.rmtree(out, ignore_errors=True)
        raise
