"""The run folder: all files of a run, consistent at every moment.

    runs/gpt/
      config.json                the plan: model, training settings, data, tokenizer (runs/plan.py)
      tinygrad_tokenizer.json    the tokenizer
      conventions.json           ids that end a text, and the chat template, if the model came with them
      model.safetensors          the weights of the newest checkpoint
      ids/                       the text as ids, unless they are kept elsewhere for several runs (data/id_file.py)
      metrics.jsonl              one flat record per optimizer step; losses in nats per token
      checkpoints/step-00000250/ model, optimizer and loop state, with a manifest of sha256 sums
      loss.png                   the loss curves, if matplotlib is installed

A checkpoint is written under a temporary name, flushed to disk, and then renamed (see `formats.manifest`): after a
crash, on a full disk or after kill -9, the previous checkpoint is intact.
"""

from __future__ import annotations

import errno
import os
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any

from tinygrad_llm.architectures import ARCHITECTURES
from tinygrad_llm.errors import CheckpointError, ConfigError, DataError
from tinygrad_llm.formats import (
    MetricsLog,
    RunLock,
    newest_whole_snapshot,
    prune_snapshots,
    publish_files,
    read_json,
    read_metrics,
    remove_leftovers,
    write_json,
    write_snapshot,
)
from tinygrad_llm.formats.atomic import short_path
from tinygrad_llm.formats.strict_json import shown
from tinygrad_llm.interop.conventions import Conventions, write_conventions
from tinygrad_llm.runs.checkpoint_files import WEIGHTS, files_of_checkpoint, read_checkpoint
from tinygrad_llm.runs.checkpoints import CHECKPOINTS, CONFIG, checkpoint_name, checkpoint_steps, run_of
from tinygrad_llm.runs.loss_picture import can_draw, draw_losses
from tinygrad_llm.runs.not_a_run import import_hint, is_huggingface, why_no_run
from tinygrad_llm.text import Tokenizer, load_tokenizer
from tinygrad_llm.train.batch_loss import language_model_loss
from tinygrad_llm.train.trainer import Callback, Trainer

VERSION = 1
SECONDS_BETWEEN_WRITES = 0.25  # to the log: a write takes 0.15 ms after a step, whose data have filled the caches
SECONDS_BETWEEN_ATTEMPTS = 30.0  # to save a checkpoint on a full disk


class RunFolder(Callback):
    """A run on disk: a trainer's callback that logs every step and saves every checkpoint.

    `seconds` in the log is the wall time since the record before, with the evaluation and the checkpoint after that.

    Use it in a `with` block, in which no other process may write into the folder. `keep` checkpoints are kept, and the
    one with the best validation loss. Among several processes only the first has a run folder.

    With `keep_every`, one is saved at each multiple of it, beginning with step 0, and never deleted.

    `finished_weights(model)` returns the weights to publish if the model in training has other ones, as with LoRA.
    """

    def __init__(self, path: Path, config: dict[str, Any], keep: int = 2, keep_every: int = 0) -> None:
        if keep < 1:
            raise ConfigError(f"--keep must be at least 1; got {keep}")
        if keep_every < 0:
            raise ConfigError(f"--keep-every must be at least 0; got {keep_every}")
        self.path, self.config, self.keep, self.keep_every = path, config, keep, keep_every
        self.say: Callable[[str], None] = lambda notice: (
            None
        )  # prints a notice for the user, such as that the disk is full
        self._lock = RunLock(path)
        self._log: MetricsLog | None = None
        self.finished_weights: Callable[[Any], Mapping[str, Any]] | None = None
        self._best: dict[str, Any] | None = None  # name and val_loss of the best checkpoint
        self._unlogged = b""  # lines that are not in the log yet
        self._unsaved, self._next_attempt = False, 0.0
        self._last_record = self._next_write = 0.0  # when the last step ended, and when the log is written again

    @classmethod
    def create(cls, path: Path, keep: int = 2, keep_every: int = 0) -> RunFolder:
        """A folder for a new run, made when the `with` block is entered.

        Raises: ConfigError if it holds a run already, which only `--resume` may change
        """
        cls._expect_no_run(path)
        return cls(path, {}, keep, keep_every)

    @staticmethod
    def _expect_no_run(path: Path) -> None:
        """Refuse a folder with a run in it, unless that run has no checkpoint because its first step failed."""
        if (path / CONFIG).exists() and ((path / CHECKPOINTS).exists() or (path / WEIGHTS).exists()):
            raise ConfigError(f"{path} already holds a run; continue it with --resume, or give a new folder with --out")

    @classmethod
    def open(cls, path: Path, keep: int = 2, keep_every: int = 0) -> RunFolder:
        """The folder of a run that exists. Raises DataError if there is none, FormatError for a bad config."""
        return cls(path, read_config(path), keep, keep_every)

    @property
    def tokenizer(self) -> Tokenizer:
        return load_tokenizer(self.path)

    def __enter__(self) -> RunFolder:
        try:
            self.path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise CheckpointError(f"{self.path}: the run folder cannot be made: {error.strerror}") from None
        self._lock.acquire()
        remove_leftovers(self.path)  # of a process that was killed while it saved
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        with suppress(CheckpointError):  # the steps before an error
            self._write_log()
        self._lock.release()

    def begin(
        self, config: Mapping[str, Any], tokenizer: Tokenizer | None, conventions: Conventions | None = None
    ) -> None:
        """Write config, tokenizer and conventions, before the first step.

        Raises: ConfigError if another run has begun there
        """
        self._expect_no_run(self.path)
        if tokenizer is not None:
            tokenizer.save(self.path)
        if conventions is not None:
            write_conventions(self.path, conventions)
        self.update_config(config)

    def update_config(self, config: Mapping[str, Any]) -> None:
        """Replace config.json, as when a resumed run is made longer."""
        self.config = {"version": VERSION, **config}
        write_json(self.path / CONFIG, self.config)

    # -- callbacks of the trainer

    def started(self, trainer: Trainer) -> None:
        if self._log is None:
            self._log = MetricsLog(self.path / "metrics.jsonl")
        self._log.truncate_after(trainer.step)  # a killed run may have logged steps after its last checkpoint
        if self.keep_every and trainer.step == 0:
            self._save_if_there_is_room(trainer)
        self._last_record = time.monotonic()

    def step_finished(self, trainer: Trainer, record: dict[str, Any]) -> None:
        now = time.monotonic()
        figures: dict[str, Any] = getattr(trainer.loss, "log_figures", dict)()
        self._unlogged += MetricsLog.line({**record, **figures, "seconds": round(now - self._last_record, 6)})
        self._last_record = now
        if now >= self._next_write:
            self._write_log()
        retries = self._unsaved and trainer.step < trainer.settings.steps and time.monotonic() >= self._next_attempt
        interval = trainer.settings.eval_interval  # after an evaluation a checkpoint is saved anyway
        is_kept = self._is_kept(trainer.step) and trainer.step < trainer.settings.steps
        if retries or (is_kept and not (interval and trainer.step % interval == 0)):
            self._save_if_there_is_room(trainer)

    def checkpoint_due(self, trainer: Trainer) -> None:
        if trainer.step < trainer.settings.steps and not trainer.stopping:
            self._save_if_there_is_room(trainer)
        else:  # nothing comes after it: an error is the only way to say that it is not saved
            self._write_log(last=True)
            self.save(trainer)

    def finished(self, trainer: Trainer) -> None:
        log = self.path / "metrics.jsonl"
        if not can_draw() or not log.exists():  # a run of 0 steps has no log
            return
        try:
            draw_losses(read_metrics(log), self.path / "loss.png", trainer.loss is language_model_loss)
        except Exception as error:  # a picture never ends a training
            self.say(f"warning: no picture of the losses: {error}")

    # -- a full disk

    def _save_if_there_is_room(self, trainer: Trainer) -> None:
        """Save; if the disk is full, print a warning, continue training, and try again later."""
        try:
            self.save(trainer)
        except CheckpointError as error:
            if not is_disk_full(error):
                raise
            if not self._unsaved:
                self.say(f"warning: {error}; training goes on, and a checkpoint is saved when there is room")
            self._unsaved, self._next_attempt = True, time.monotonic() + SECONDS_BETWEEN_ATTEMPTS
            return
        if self._unsaved:
            self.say(f"there is room again: saved after step {trainer.step}")
        self._unsaved = False

    def _write_log(self, last: bool = False) -> None:
        """Append the records that are not in the log yet; if the disk is full, keep them for the next time."""
        self._next_write = time.monotonic() + SECONDS_BETWEEN_WRITES
        if self._log is None or not self._unlogged:
            return
        try:
            self._log.write(self._unlogged)
        except CheckpointError as error:
            if last or not is_disk_full(error):
                raise
        else:
            self._unlogged = b""

    # -- checkpoints

    def save(self, trainer: Trainer) -> Path:
        """Write a checkpoint, make its weights the folder's newest, and delete checkpoints beyond `keep`.

        The log is written first, since a run that is killed afterwards resumes from this step.
        """
        self._write_log()
        name = checkpoint_name(trainer.step)
        if trainer.val_loss is not None and (self._best is None or trainer.val_loss < self._best["val_loss"]):
            self._best = {"name": name, "val_loss": trainer.val_loss}
        checkpoints = self.path / CHECKPOINTS
        snapshot = write_snapshot(checkpoints, name, files_of_checkpoint(trainer, self._best, self.finished_weights))
        publish_files(snapshot, self.path, [WEIGHTS])
        kept = [checkpoint_name(step) for step in checkpoint_steps(self.path) if self._is_kept(step)]
        prune_snapshots(checkpoints, self.keep, protect=[*kept, *([self._best["name"]] if self._best else [])])
        return snapshot

    def _is_kept(self, step: int) -> bool:
        return self.keep_every > 0 and step % self.keep_every == 0

    def restore(self, trainer: Trainer) -> list[str]:
        """Load the newest intact checkpoint into `trainer`; returns notices about anything unusual.

        Its weights become the folder's model.safetensors: a process killed while it saved may not have replaced it.

        Raises: CheckpointError if no checkpoint is whole, or it does not fit the run's model and data
        """
        snapshot, notices = newest_whole_snapshot(self.path / CHECKPOINTS)
        if snapshot is None:
            if notices:
                raise CheckpointError(f"{self.path}: no checkpoint is whole: {'; '.join(notices)}")
            return ["no checkpoint was saved yet; starting at step 0"]
        if notices:
            notices = [*notices, f"falling back to {snapshot.name}, the newest checkpoint that is whole"]
        self._best, more = read_checkpoint(snapshot, trainer, has_finished_weights=self.finished_weights is not None)
        publish_files(snapshot, self.path, [WEIGHTS])
        return [*notices, *more]


def read_config(path: Path) -> dict[str, Any]:
    """The config.json of a run folder, or of that of a checkpoint.

    Raises: DataError if there is none, CheckpointError for another file
    """
    path = run_of(path)
    if not os.path.isfile(path / CONFIG):  # False also for a name that is too long
        raise DataError(why_no_run(path, short_path(path)))
    config = read_json(path / CONFIG)
    if is_huggingface(config):
        raise DataError(import_hint(path))
    expected = {"version": int, "model_type": str, "model": dict}
    if not isinstance(config, dict) or any(not isinstance(config.get(name), kind) for name, kind in expected.items()):
        raise CheckpointError(f"{path / CONFIG}: must be the config that a run wrote (version, model_type, model, ...)")
    if config["version"] > VERSION:
        raise CheckpointError(
            f"{path / CONFIG}: written by a newer version of this package (layout {config['version']}, known up to "
            f"{VERSION}); update the package"
        )
    if config["model_type"] not in ARCHITECTURES:
        raise CheckpointError(
            f"{path / CONFIG}: model_type must be one of {', '.join(ARCHITECTURES)}; got {shown(config['model_type'])}"
        )
    return config


def is_disk_full(error: BaseException) -> bool:
    """Whether an error was caused by a disk, or a quota, without room."""
    cause = error.__cause__
    return isinstance(cause, OSError) and cause.errno in (errno.ENOSPC, getattr(errno, "EDQUOT", errno.ENOSPC))
