"""The training loop: one loop for pretraining and every kind of fine-tuning.

    trainer = Trainer(model, WindowLoader(ids, context_length=64, batch_size=12), TrainingSettings(steps=500))
    trainer.train()

Given the same settings, data and number of BLAS threads, a run is the same to the last bit, whether it is interrupted
and resumed or not, and however often it is evaluated: shuffling, dropout, evaluation and sampling each draw from a
generator of their own, derived from the seed.

Several processes train one model on shares of every batch (data parallelism): each has the same weights, works out the
gradient of its rows, and all take the same step with the sum. Batches, their order and the dropout masks are those of
one process, so that the number of processes changes a run only by the order in which numbers are added.
"""

from __future__ import annotations

import math
import signal
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Protocol

import numpy as np

from tinygrad_llm import nn
from tinygrad_llm.data import count_rows, take_rows
from tinygrad_llm.errors import AnomalyError, ConfigError
from tinygrad_llm.nn import Module, draw_dropout_from
from tinygrad_llm.optim import AdamW, clip_grad_norm_, grad_norm
from tinygrad_llm.optim.schedules import Schedule, inverse_square_root, warmup_cosine
from tinygrad_llm.random import Generator
from tinygrad_llm.train.evaluation import (
    Batches,
    Loss,
    count_targets,
    evaluate,
    evenly_spaced,
    language_model_loss,
)
from tinygrad_llm.train.parallel.communicator import Communicator, SingleProcess, share_of
from tinygrad_llm.train.parallel.gradient_sum import GradientSum
from tinygrad_llm.train.parallel.shared_dropout import SharedMasks
from tinygrad_llm.train.settings import TrainingSettings

INTERRUPTIONS = (signal.SIGINT, signal.SIGTERM)


class Loader(Protocol):
    """Batches in epochs, resumable: `DataLoader` or `WindowLoader`."""

    def __iter__(self) -> Iterator[Any]: ...

    def state(self) -> dict[str, Any]: ...

    def set_state(self, state: Mapping[str, Any], /) -> None: ...


class Callback:
    """What wants to know how training goes; override what is needed. A record is a flat dict of figures."""

    def started(self, trainer: Trainer) -> None:
        """Before the first step of this process."""

    def step_finished(self, trainer: Trainer, record: dict[str, Any]) -> None:
        """After every optimizer step; `record` holds its figures, `val_loss` only when it was evaluated."""

    def checkpoint_due(self, trainer: Trainer) -> None:
        """After an evaluation, at an interruption and at the end: the moment to save."""

    def finished(self, trainer: Trainer) -> None:
        """After the last step."""


class Trainer:
    """Trains `model` on the batches of `loader` as `settings` say, and tells `callbacks`.

    `loss(model, batch)` is the mean loss of a batch over its targets (nats), by default that of a language model;
    `validation` is a sequence of batches, of which `eval_batches`, evenly spaced, are evaluated each time. AdamW
    (Loshchilov and Hutter 2017, arXiv:1711.05101) with linear warm-up, then cosine decay or the inverse square root of
    time; weight decay on matrices only, for a bias or a norm's scale has no reason to be near 0.

    Where several processes train together, each makes a Trainer with its `communicator`. The first one reads, logs and
    saves for all: the others need no loader and no validation, and call no callbacks.

    Raises: ConfigError where nothing is trainable or the loader has no batch; AnomalyError, before the optimizer
            changes anything, where a loss or gradient is not finite (`skip_bad_steps` counts and skips instead);
            KeyboardInterrupt(signal number) after Ctrl-C or SIGTERM, once the step is finished and the checkpoint saved
    """

    def __init__(
        self,
        model: Module,
        loader: Loader | None,
        settings: TrainingSettings | None = None,
        validation: Batches | None = None,
        loss: Loss = language_model_loss,
        callbacks: Sequence[Callback] = (),
        communicator: Communicator | None = None,
    ) -> None:
        self.model, self.loader, self.loss = model, loader, loss
        self.settings = TrainingSettings() if settings is None else settings
        self.validation = validation
        self.communicator = SingleProcess() if communicator is None else communicator
        self.callbacks = list(callbacks) if self.communicator.rank == 0 else []
        self.step = 0  # optimizer steps done
        self.bad_steps = 0
        self.val_loss: float | None = None  # the latest
        self._batches: Iterator[Any] | None = None
        root = Generator(self.settings.seed)
        self.masks = SharedMasks(root.spawn("dropout").seed)
        draw_dropout_from(model, self.masks)
        if self.settings.checkpoint_activations:
            nn.checkpoint_activations(model)
        self.generators: dict[str, Generator] = {"dropout": self.masks}
        self.generators |= {name: root.spawn(name) for name in ("evaluation", "sampling")}
        self.optimizer = self._new_optimizer()
        self._sum_gradients = GradientSum(model.parameters(), self.communicator)
        self.learning_rate = self._new_schedule()

    def _new_schedule(self) -> Schedule:
        s = self.settings
        if s.schedule == "inverse_square_root":
            return inverse_square_root(s.learning_rate, max(s.warmup_steps, 1))
        return warmup_cosine(s.learning_rate, min(s.warmup_steps, s.steps), s.steps, s.min_learning_rate)

    def _new_optimizer(self) -> AdamW:
        trainable = [(name, p) for name, p in self.model.named_parameters() if p.requires_grad]
        if not trainable:
            raise ConfigError("Trainer: no parameter of the model requires a gradient; there is nothing to train")
        s = self.settings
        groups = [
            {"params": [(name, p) for name, p in trainable if p.ndim >= 2], "weight_decay": s.weight_decay},
            {"params": [(name, p) for name, p in trainable if p.ndim < 2], "weight_decay": 0.0},
        ]
        return AdamW([group for group in groups if group["params"]], s.learning_rate, (s.beta1, s.beta2))

    def train(self, until: int | None = None) -> None:
        """Train to step `until`, by default to `settings.steps`, the end of the schedule."""
        last = self.settings.steps if until is None else min(until, self.settings.steps)
        self.model.train()
        self._begin_as_one()
        for callback in self.callbacks:
            callback.started(self)
        with _interruption_between_steps() as signals:
            while self.step < last and not self._interruptions(signals):
                self._train_one_step()
            if self.step < self.settings.steps or not self.step:  # at the end it is saved already
                self._checkpoint_due()
            interruptions = self._interruptions(signals)
        if interruptions:
            raise KeyboardInterrupt(interruptions[0])
        if self.step == self.settings.steps:
            for callback in self.callbacks:
                callback.finished(self)

    def _begin_as_one(self) -> None:
        """Every process takes over the weights, the optimizer and the place in the run from the first."""
        if self.communicator.size == 1:
            return
        first = self.communicator.rank == 0
        own = (self.model.state_dict(), self.optimizer.state_dict(), self.state()) if first else None
        model, optimizer, state = self.communicator.broadcast(own)  # type: ignore[misc]
        if not first:
            self.model.load_state_dict(model)
            self.optimizer.load_state_dict(optimizer)
            self.set_state(state)

    def _interruptions(self, signals: list[int]) -> list[int]:
        """The signals that any process has received, so that all stop after the same step."""
        counts = np.array([signals.count(signum) for signum in INTERRUPTIONS], np.float64)
        return [signum for signum, count in zip(INTERRUPTIONS, self.communicator.sum(counts), strict=True) if count]

    def _train_one_step(self) -> None:
        started = time.perf_counter()
        rate = self.learning_rate(self.step)
        batches = self.communicator.broadcast(self._next_batches())
        counts = [count_targets(batch) for batch in batches]
        loss_of_rows = sum([self._backward(batch, max(sum(counts), 1)) for batch in batches], 0.0)
        mean_loss = float(self.communicator.sum(np.array([loss_of_rows]))[0])
        self._sum_gradients()
        parameters = list(self.model.parameters())
        norm = clip_grad_norm_(parameters, clip) if (clip := self.settings.grad_clip) else grad_norm(parameters)
        if math.isfinite(mean_loss) and math.isfinite(norm):
            for group in self.optimizer.param_groups:
                group["lr"] = rate
            self.optimizer.step()
        else:
            self._bad_step(mean_loss)
        self.optimizer.zero_grad()
        self.step += 1
        record = {
            "step": self.step,
            "train_loss": mean_loss,
            "learning_rate": rate,
            "grad_norm": norm,
            "tokens_per_second": sum(counts) / (time.perf_counter() - started),
        }
        interval = self.settings.eval_interval
        due = self.step == self.settings.steps or (interval and self.step % interval == 0)
        if due and self.communicator.broadcast(self.validation is not None):
            record["val_loss"] = self.evaluate()
        for callback in self.callbacks:
            callback.step_finished(self, record)
        if due:
            self._checkpoint_due()

    def _backward(self, batch: Any, targets: int) -> float:
        """Add the gradient of this process's rows of a batch; returns what they add to the mean over `targets`."""
        weighed = 0.0
        whole = 1 if self.communicator.size == 1 else count_rows(batch)
        rows = share_of(whole, self.communicator)
        if self.communicator.size > 1:
            batch = take_rows(batch, rows)
        if rows.start < rows.stop:
            with self.masks.of_rows(rows, whole):
                loss = self.loss(self.model, batch) * (count_targets(batch) / targets)
                weighed = loss.item()
                loss.backward()  # its graph dies here, before the next batch needs the memory
        if whole < self.communicator.size:  # whoever had no row has drawn no masks, and stands where it stood
            self.masks.set_state(self.communicator.broadcast(self.masks.state()))
        return weighed

    def _next_batches(self) -> list[Any]:
        """The batches of a step; the first process reads for all."""
        if self.communicator.rank:
            return []
        return [self._next_batch() for _ in range(self.settings.grad_accumulation)]

    def _next_batch(self) -> Any:
        """The next batch of the running epoch, or the first of a new one."""
        if self.loader is None:
            raise ConfigError("Trainer: the first process, or one alone, needs a loader; got None")
        for _ in range(3):  # a resumed epoch may have been at its end already
            for batch in self._batches or ():
                return batch
            self._batches = iter(self.loader)
        raise ConfigError("Trainer: the loader has no batch; give more data or a smaller batch_size")

    def _bad_step(self, loss: float) -> None:
        """A step whose numbers went wrong: stop before the weights take harm, or count it and go on."""
        if self.settings.skip_bad_steps:
            self.bad_steps += 1
            return
        where = next(
            (
                f"; the first parameter whose gradient is not finite is {name}"
                for name, p in self.model.named_parameters()
                if p.grad is not None and not np.isfinite(p.grad).all()
            ),
            "",
        )
        raise AnomalyError(
            f"step {self.step + 1}: loss and gradients must be finite; got loss {loss}{where}. The weights are those "
            "after the step before. Usual causes: a learning rate too high, no warm-up, no clipping, broken data; "
            "detect_anomaly() names the operation, --skip-bad-steps goes on without this batch"
        )

    def evaluate(self, batches: int | None = None) -> float:
        """The loss on `batches` evenly spaced batches of the validation part. Units: nats per target."""
        chosen: list[Any] = []
        if self.communicator.rank == 0:
            if not self.validation:
                raise ConfigError("evaluate: this trainer was given no validation batches")
            chosen = evenly_spaced(self.validation, self.settings.eval_batches if batches is None else batches)
        chosen = self.communicator.broadcast(chosen)
        self.val_loss = evaluate(self.model, chosen, self.loss, self.communicator)
        return self.val_loss

    def _checkpoint_due(self) -> None:
        for callback in self.callbacks:
            callback.checkpoint_due(self)

    # -- exact resume

    def state(self) -> dict[str, Any]:
        """Where the run stands, but for the arrays of model and optimizer."""
        return {
            "step": self.step,
            "bad_steps": self.bad_steps,
            "val_loss": self.val_loss,
            "loader": None if self.loader is None else self.loader.state(),
            "generators": {name: generator.state() for name, generator in self.generators.items()},
        }

    def set_state(self, state: Mapping[str, Any]) -> None:
        """Stand where `state()` was taken. Raises ConfigError if it is not a trainer's state."""
        try:
            if self.loader is not None:
                self.loader.set_state(state["loader"])
            for name, generator in self.generators.items():
                generator.set_state(state["generators"][name])
            self.step, self.bad_steps = int(state["step"]), int(state["bad_steps"])
            self.val_loss = None if state["val_loss"] is None else float(state["val_loss"])
        except (KeyError, TypeError, ValueError) as error:
            if isinstance(error, ConfigError):
                raise
            raise ConfigError(f"Trainer.set_state: needs what state() gave; {error!r}") from error
        self._batches = None


@contextmanager
def _interruption_between_steps() -> Iterator[list[int]]:
    """Turn the first Ctrl-C or SIGTERM into an entry that the loop sees when its step is done.

    A second one acts at once. SIGTERM is what a system sends that shuts down or wants the machine for others.
    """
    interruptions: list[int] = []
    if threading.current_thread() is not threading.main_thread():
        yield interruptions  # only the main thread receives signals
        return

    def remember(signum: int, frame: Any) -> None:
        interruptions.append(signum)
        signal.signal(signum, before[signum])

    before: dict[int, Any] = {}
    try:
        for sign in INTERRUPTIONS:
            before[sign] = signal.getsignal(sign)
            signal.signal(sign, remember)
        yield interruptions
    finally:
        for signum, handler in before.items():
            signal.signal(signum, handler)
