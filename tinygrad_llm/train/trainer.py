"""The training loop: one loop for pretraining and every kind of fine-tuning.

    trainer = Trainer(model, WindowLoader(ids, context_length=64, batch_size=12), TrainingSettings(steps=500))
    trainer.train()

One step, in `take_step`: the learning rate, the batches, the loss and its gradient, clipping, the update.

Given the same model, settings, data and numbers of workers and BLAS threads, a run is the same to the last bit,
whether it is interrupted and resumed or not, and however often it is evaluated: the shuffling of a WindowLoader (unless
it was given a generator), dropout, evaluation and sampling each draw from a generator of their own, derived from the
seed.

`parallel.Workers` share each step among the cores, `parallel.ParallelTrainer` among machines.
"""

from __future__ import annotations

import math
import signal
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Protocol

from tinygrad_llm import nn, optim, train
from tinygrad_llm.data.window_loader import WindowLoader
from tinygrad_llm.errors import ConfigError
from tinygrad_llm.nn import Module, draw_dropout_from
from tinygrad_llm.optim import AdamW, Optimizer, clip_grad_norm_, schedules
from tinygrad_llm.optim.schedules import Schedule, warmup_cosine
from tinygrad_llm.random import Generator
from tinygrad_llm.train.batch_loss import Batches, Loss, add_gradient, count_targets, language_model_loss
from tinygrad_llm.train.settings import TrainingSettings

SMALLEST_SHARED = 100_000  # parameters of a model whose steps "auto" workers share: below, messages cost too much

# Ctrl-C, a system that shuts down or wants the machine for others, and a lost connection.
INTERRUPTIONS = tuple(getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name))


class ResumableLoader(Protocol):
    """Batches in epochs, resumable: `DataLoader` or `WindowLoader`."""

    def __iter__(self) -> Iterator[Any]: ...

    def state(self) -> dict[str, Any]: ...

    def set_state(self, state: Mapping[str, Any], /) -> None: ...


class Callback:
    """Base class of observers of a training; override what is needed. A record is a flat dict of figures."""

    def started(self, trainer: Trainer) -> None:
        """Called before the first step of this process."""

    def step_finished(self, trainer: Trainer, record: dict[str, Any]) -> None:
        """Called after every optimizer step with its figures; `val_loss` is among them after an evaluation, None where
        it was not finite."""

    def checkpoint_due(self, trainer: Trainer) -> None:
        """Called when a checkpoint should be saved: after an evaluation, at an interruption and at the end."""

    def finished(self, trainer: Trainer) -> None:
        """Called after the last step."""


class Trainer:
    """Trains `model` on the batches of `loader` as `settings` say, and calls `callbacks`.

    `loss(model, batch)` is the mean loss of a batch over its targets (nats), by default that of a language model;
    `validation` is a sequence of batches, of which `eval_batches`, evenly spaced, are evaluated each time. The
    optimizer is the one of the settings, its rate with linear warm-up, then cosine decay or the inverse square root of
    time; weight decay acts on matrices only, not on biases and the scales of norms.

    Raises: ConfigError if nothing is trainable or the loader has no batch; AnomalyError, before the optimizer
            changes anything, if a loss or gradient is not finite (`skip_bad_steps` counts and skips instead), and
            if a validation loss is not; KeyboardInterrupt(signal number) after Ctrl-C, SIGTERM or SIGHUP, once the
            step is finished and the checkpoint saved
    """

    processes_here = 1  # trainers that share the cores of this machine

    def __init__(
        self,
        model: Module,
        loader: ResumableLoader | None,
        settings: TrainingSettings | None = None,
        validation: Batches | None = None,
        loss: Loss = language_model_loss,
        callbacks: Sequence[Callback] = (),
    ) -> None:
        self.model, self.loader, self.loss = model, loader, loss
        self.settings = TrainingSettings() if settings is None else settings
        self.validation, self.callbacks = validation, list(callbacks)
        self.step = 0  # optimizer steps done
        self.bad_steps = 0
        self.val_loss: float | None = None  # the latest
        self.stopping = False  # whether this call of `train` is about to return
        self._batches: Iterator[Any] | None = None
        root = Generator(self.settings.seed)
        self.generators = {name: root.spawn(name) for name in ("evaluation", "sampling", "dropout")}
        draw_dropout_from(model, self.generators["dropout"])
        if isinstance(loader, WindowLoader):
            loader.default_to(root.spawn("shuffling"))
        if self.settings.checkpoint_activations:
            nn.checkpoint_activations(model)
        self.optimizer = self._new_optimizer()
        self.learning_rate = self._new_schedule()
        self.workers = self.processes = self._number_of_workers()  # that share each step
        self.team: Any = None  # these workers, while they run

    def _new_optimizer(self) -> Optimizer:
        trainable = [(name, p) for name, p in self.model.named_parameters() if p.requires_grad]
        if not trainable:
            raise ConfigError("Trainer: no parameter of the model requires a gradient; there is nothing to train")
        s = self.settings
        decayed = {"params": [(name, p) for name, p in trainable if p.ndim >= 2], "weight_decay": s.weight_decay}
        others = {"params": [(name, p) for name, p in trainable if p.ndim < 2], "weight_decay": 0.0}
        groups, betas = [group for group in (decayed, others) if group["params"]], (s.beta1, s.beta2)
        if s.optimizer == "muon":
            return optim.muon_and_adamw(self.model, groups, s.learning_rate, betas)
        return AdamW(groups, s.learning_rate, betas)

    def _new_schedule(self) -> Schedule:
        s = self.settings
        if s.schedule == "inverse_square_root":
            return schedules.inverse_square_root(s.learning_rate, max(s.warmup_steps, 1))
        return warmup_cosine(s.learning_rate, min(s.warmup_steps, s.steps), s.steps, s.min_learning_rate)

    def _number_of_workers(self) -> int:
        wanted = self.settings.workers
        if isinstance(wanted, int) or self.model.num_parameters() < SMALLEST_SHARED:
            return wanted if isinstance(wanted, int) else 1
        return train.parallel.workers.one_per_core(self)

    # -- the loop

    def train(self, until: int | None = None) -> None:
        """Train to step `until`, by default to `settings.steps`, the end of the schedule."""
        if self.workers > 1 and self.team is None:
            with train.parallel.workers.started(self):
                self.train(until)
            return
        last = self.settings.steps if until is None else min(until, self.settings.steps)
        self.model.train()
        self.stopping = False
        for callback in self.callbacks:
            callback.started(self)
        with _interruption_between_steps() as signals:
            while self.step < last and not self._interruptions(signals):
                self.take_step()
            self.stopping = True
            if self.step < self.settings.steps or not self.step:  # at the end it is saved already
                self._checkpoint_due()
            interruptions = self._interruptions(signals)
        if interruptions:
            raise KeyboardInterrupt(interruptions[0])
        if self.step == self.settings.steps:
            for callback in self.callbacks:
                callback.finished(self)

    def take_step(self) -> None:
        """One step. `train` sets training mode before the first, and stops between two where a signal asks it to."""
        started = time.perf_counter()
        rate = self.learning_rate(self.step)
        batches = self._next_batches()
        targets = sum(count_targets(batch) for batch in batches)
        loss = self._sum_over_processes(sum([self._backward(batch, max(targets, 1)) for batch in batches], 0.0))
        norm = self._clip_gradients()
        if math.isfinite(loss) and math.isfinite(norm):
            for group in self.optimizer.param_groups:
                group["lr"] = rate
            (self.team or self.optimizer).step()
        else:
            train.bad_steps.skip_or_raise(self, loss)
        self.optimizer.zero_grad()
        self.step += 1
        speed = targets / (time.perf_counter() - started)
        self._report({"train_loss": loss, "learning_rate": rate, "grad_norm": norm, "tokens_per_second": speed})

    def _next_batches(self) -> list[Any]:
        """The batches of a step."""
        return [self._next_batch() for _ in range(self.settings.grad_accumulation)]

    def _next_batch(self) -> Any:
        """The next batch of the current epoch, or the first of a new one."""
        if self.loader is None:
            raise ConfigError("Trainer: one process, and the first of several, needs a loader; got None")
        for _ in range(3):  # a resumed epoch may have been at its end already
            for batch in self._batches or ():
                return batch
            self._batches = iter(self.loader)
        raise ConfigError("Trainer: the loader has no batch; give more data or a smaller batch_size")

    def _backward(self, batch: Any, targets: int) -> float:
        """Add the gradient of a batch to the parameters' gradients; returns its part of the mean over `targets`."""
        if self.team:
            return self.team.backward(batch, targets)
        return add_gradient(self.model, batch, targets, self.loss)

    def _sum_over_processes(self, loss: float) -> float:
        """The loss of the whole step, whose gradients are then complete."""
        return loss

    def _clip_gradients(self) -> float:
        """Clip the gradients by their global norm, which is returned."""
        clip = self.settings.grad_clip
        if self.team:
            return self.team.clip_gradients(clip)
        return clip_grad_norm_(self.model.parameters(), clip or math.inf)  # infinity only measures

    def _interruptions(self, signals: list[int]) -> list[int]:
        """The signals that ask this training to stop."""
        return list(signals)

    # -- evaluation and callbacks

    def _report(self, figures: dict[str, Any]) -> None:
        """Evaluate where it is due, and call the callbacks with the figures of the step."""
        record, interval = {"step": self.step, **figures}, self.settings.eval_interval
        due = self.step == self.settings.steps or (interval and self.step % interval == 0)
        if due and self._has_validation():
            record["val_loss"] = train.bad_steps.finite_val_loss(self, self.evaluate())
        for callback in self.callbacks:
            callback.step_finished(self, record)
        if due:
            self._checkpoint_due()

    def evaluate(self, batches: int | None = None) -> float:
        """The loss on `batches` evenly spaced batches of the validation part. Units: nats per target."""
        evaluate = self.team.evaluate if self.team else train.evaluate
        self.val_loss = evaluate(self.model, train.evaluation.batches_of(self, batches), self.loss)
        return self.val_loss

    def _has_validation(self) -> bool:
        return self.validation is not None

    def _checkpoint_due(self) -> None:
        for callback in self.callbacks:
            callback.checkpoint_due(self)

    # -- exact resume

    def state(self) -> dict[str, Any]:
        """The position of the run, without the arrays of model and optimizer."""
        return train.resuming.state_of(self)

    def set_state(self, state: Mapping[str, Any]) -> None:
        """Continue from where `state()` was taken. Raises: ConfigError if it is not a trainer's state"""
        train.resuming.restore(self, state)
        self._batches = None


@contextmanager
def _interruption_between_steps() -> Iterator[list[int]]:
    """Collect the first of each signal in INTERRUPTIONS in a list that the loop reads between steps.

    A second signal acts at once. A signal that this process ignores, as under nohup, stays ignored.
    """
    interruptions: list[int] = []
    before: dict[int, Any] = {}
    in_main = threading.current_thread() is threading.main_thread()  # which alone receives signals

    def remember(signum: int, frame: Any) -> None:
        interruptions.append(signum)
        signal.signal(signum, before[signum])

    try:
        for sign in INTERRUPTIONS if in_main else ():
            if signal.getsignal(sign) is not signal.SIG_IGN:
                before[sign] = signal.getsignal(sign)
                signal.signal(sign, remember)
        yield interruptions
    finally:
        for signum, handler in before.items():
            signal.signal(signum, handler)
