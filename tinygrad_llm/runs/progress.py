"""Progress of a training: one line per evaluation, and on a terminal a status line that is updated in place."""

from __future__ import annotations

import sys
import time
from collections import deque
from collections.abc import Callable
from typing import Any, TextIO

from tinygrad_llm.terminal import fit_line, for_terminal
from tinygrad_llm.train.evaluation import language_model_loss, perplexity
from tinygrad_llm.train.trainer import Callback, Trainer

RECENT = 25  # steps whose mean training loss is shown
SECONDS_BETWEEN_RENEWALS = 0.2
SECONDS_BETWEEN_LINES = 15.0  # without a terminal, print the status at least this often


def duration(seconds: float) -> str:
    """`1h 02m`, `3m 07s` or `12s`."""
    whole = max(0, round(seconds))
    if whole >= 3600:
        return f"{whole // 3600}h {whole % 3600 // 60:02d}m"
    return f"{whole // 60}m {whole % 60:02d}s" if whole >= 60 else f"{whole}s"


class StatusLine:
    """A status line that is updated in place on a terminal; elsewhere it is printed now and then."""

    def __init__(self, stream: TextIO | None = None) -> None:
        self.stream = sys.stdout if stream is None else stream
        self.on_terminal = self.stream.isatty()
        self._shown = time.monotonic()
        self._width = 0

    def renew(self, text: Callable[[], str], at_once: bool = False) -> None:
        """Show `text()` as the current status, unless one was shown a moment ago; on a terminal always if `at_once`."""
        wait = SECONDS_BETWEEN_RENEWALS * (not at_once) if self.on_terminal else SECONDS_BETWEEN_LINES
        if time.monotonic() - self._shown < wait:
            return
        if not self.on_terminal:
            self.say(text())
            return
        line = fit_line(text(), self.stream)
        self.stream.write("\r" + line.ljust(self._width))
        self.stream.flush()
        self._width, self._shown = len(line), time.monotonic()

    def say(self, text: str) -> None:
        """Print a line that stays, in place of the status."""
        text = for_terminal(text, self.stream)
        self.stream.write(("\r" + text.ljust(self._width) if self._width else text) + "\n")
        self.stream.flush()
        self._width, self._shown = 0, time.monotonic()


class ProgressLog(Callback):
    """Prints step, losses, learning rate, gradient norm, speed and the time left.

    `loss` is the mean training loss of the last steps, whose number it tells. Perplexity is that of the validation
    loss, where targets are tokens. Units: losses in nats per target, perplexity in tokens.
    """

    def __init__(self, status: StatusLine | None = None) -> None:
        self.status = StatusLine() if status is None else status
        self._first_step = 0
        self._started = 0.0
        self._losses: deque[float] = deque(maxlen=RECENT)

    def started(self, trainer: Trainer) -> None:
        self._first_step, self._started = trainer.step, time.monotonic()

    def step_finished(self, trainer: Trainer, record: dict[str, Any]) -> None:
        self._losses.append(record["train_loss"])
        if "val_loss" in record or record["step"] == trainer.settings.steps:
            self.status.say(self._line(trainer, record))
        else:
            self.status.renew(lambda: self._line(trainer, record))

    def _line(self, trainer: Trainer, record: dict[str, Any]) -> str:
        steps, recent = trainer.settings.steps, len(self._losses)
        per_step = (time.monotonic() - self._started) / (record["step"] - self._first_step)
        figures = [
            f"step {record['step']:>{len(str(steps))}}/{steps}",
            f"loss {sum(self._losses) / recent:.3f} ({recent} step{'s' * (recent > 1)})",
        ]
        of_tokens, loss = trainer.loss is language_model_loss, record.get("val_loss")
        if loss is not None:
            figures.append(f"validation {loss:.3f}" + f" (perplexity {perplexity(loss):,.1f})" * of_tokens)
        elif "val_loss" in record:
            figures.append("validation not finite")
        figures += [
            f"lr {record['learning_rate']:.1e}",
            f"grad norm {record['grad_norm']:.2f}",
            f"{record['tokens_per_second']:,.0f} {'tok' if of_tokens else 'examples'}/s",
            f"{duration((steps - record['step']) * per_step)} left",
        ]
        return " | ".join(figures)
