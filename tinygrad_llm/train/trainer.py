"""The training loop: one loop for pretraining and every kind of fine-tuning.

    trainer = Trainer(model, WindowLoader(ids, context_length=64, batch_size=12), TrainingSettings(steps=500))
    trainer.train()

Given the same settings, data and number of BLAS threads, a run is the same to the last bit, whether it is interrupted
and resumed or not, and however often it is evaluated: shuffling, dropout, evaluation and sampling each draw from a
generator of their own, derived from the seed.
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

from tinygrad_llm.errors import AnomalyError, ConfigError
from tinygrad_llm.nn import Module, draw_dropout_from
from tinygrad_llm.optim import AdamW, clip_grad_norm_, grad_norm
from tinygrad_llm.optim.schedules import warmup_cosine
from tinygrad_llm.random import Generator
from tinygrad_llm.train.evaluation import (
    Batches,
    Loss,
    count_targets,
    evaluate,
    evenly_spaced,
    language_model_loss,
)
from tinygrad_llm.train.settings import TrainingSettings


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
    (Loshchilov and Hutter 2017, arXiv:1711.05101) with linear warm-up and cosine decay; weight decay on matrices only,
    for a bias or a norm's scale has no reason to be near 0.

    Raises: ConfigError where nothing is trainable or the loader has no batch; AnomalyError, before the optimizer
            changes anything, where a loss or gradient is not finite (`skip_bad_steps` counts and skips instead);
            KeyboardInterrupt(signal number) after Ctrl-C or SIGTERM, once the step is finished and the checkpoint saved
    """

    def __init__(
        self,
        model: Module,
        loader: Loader,
        settings: TrainingSettings | None = None,
        validation: Batches | None = None,
        loss: Loss = language_model_loss,
        callbacks: Sequence[Callback] = (),
    ) -> None:
        self.model, self.loader, self.loss = model, loader, loss
        self.settings = TrainingSettings() if settings is None else settings
        self.validation = validation
        self.callbacks = list(callbacks)
        self.step = 0  # optimizer steps done
        self.bad_steps = 0
        self.val_loss: float | None = None  # the latest
        self._batches: Iterator[Any] | None = None
        root = Generator(self.settings.seed)
        self.generators = {name: root.spawn(name) for name in ("dropout", "evaluation", "sampling")}
        draw_dropout_from(model, self.generators["dropout"])
        self.optimizer = self._new_optimizer()
        self.learning_rate = warmup_cosine(
            self.settings.learning_rate,
            min(self.settings.warmup_steps, self.settings.steps),
            self.settings.steps,
            self.settings.min_learning_rate,
        )

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
        for callback in self.callbacks:
            callback.started(self)
        with _interruption_between_steps() as interruptions:
            while self.step < last and not interruptions:
                self._train_one_step()
            if self.step < self.settings.steps or not self.step:  # at the end it is saved already
                self._checkpoint_due()
        if interruptions:
            raise KeyboardInterrupt(interruptions[0])
        if self.step == self.settings.steps:
            for callback in self.callbacks:
                callback.finished(self)

    def _train_one_step(self) -> None:
        started = time.perf_counter()
        rate = self.learning_rate(self.step)
        batches = [self._next_batch() for _ in range(self.settings.grad_accumulation)]
        counts = [count_targets(batch) for batch in batches]
        mean_loss = 0.0
        for batch, count in zip(batches, counts, strict=True):
            loss = self.loss(self.model, batch) * (count / max(sum(counts), 1))
            mean_loss += loss.item()
            loss.backward()
            del loss  # its graph is walked; let the memory go before the next batch
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
        if due and self.validation is not None:
            record["val_loss"] = self.evaluate()
        for callback in self.callbacks:
            callback.step_finished(self, record)
        if due:
            self._checkpoint_due()

    def _next_batch(self) -> Any:
        """The next batch of the running epoch, or the first of a new one."""
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
        if not self.validation:
            raise ConfigError("evaluate: this trainer was given no validation batches")
        chosen = evenly_spaced(self.validation, self.settings.eval_batches if batches is None else batches)
        self.val_loss = evaluate(self.model, chosen, self.loss)
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
            "loader": self.loader.state(),
            "generators": {name: generator.state() for name, generator in self.generators.items()},
        }

    def set_state(self, state: Mapping[str, Any]) -> None:
        """Stand where `state()` was taken. Raises ConfigError if it is not a trainer's state."""
        try:
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
        for sign in (signal.SIGINT, signal.SIGTERM):
            before[sign] = signal.getsignal(sign)
            signal.signal(sign, remember)
        yield interruptions
    finally:
        for signum, handler in before.items():
            signal.signal(signum, handler)
