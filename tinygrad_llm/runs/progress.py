"""What a training says of its progress: one line per evaluation, and on a terminal a line that renews itself."""

from __future__ import annotations

import time
from collections import deque
from typing import Any

from tinygrad_llm.runs.status_line import BAR_WIDTH, StatusLine, duration
from tinygrad_llm.terminal import bar, columns, sparkline
from tinygrad_llm.train.batch_loss import language_model_loss
from tinygrad_llm.train.evaluation import perplexity
from tinygrad_llm.train.trainer import Callback, Trainer

__all__ = ["ProgressLog", "StatusLine", "duration"]

RECENT = 25  # steps whose mean training loss is shown
CURVE_WIDTH = 10  # characters of the curve in the status line
LEAST_FOR_A_CURVE = 8  # steps


class ProgressLog(Callback):
    """Prints step, losses, learning rate, gradient norm, speed and the time left.

    `loss` is the mean training loss of the last steps, whose number it tells. Perplexity is that of the validation
    loss, where targets are tokens. A loss that counts right answers has a `training_figure()` and a
    `validation_figure()`, which are shown too. On a terminal the figures that its width has no room for are left out,
    the least needed first.
    Units: losses in nats per target, perplexity in tokens.
    """

    def __init__(self, status: StatusLine | None = None) -> None:
        self.status = StatusLine() if status is None else status
        self._first_step = 0
        self._started = 0.0
        self._losses: list[float] = []  # of all steps of this process
        self._recent: deque[float] = deque(maxlen=RECENT)

    def started(self, trainer: Trainer) -> None:
        self._first_step, self._started = trainer.step, time.monotonic()

    def step_finished(self, trainer: Trainer, record: dict[str, Any]) -> None:
        self._recent.append(record["train_loss"])
        self._losses.append(sum(self._recent) / len(self._recent))
        if "val_loss" in record or record["step"] == trainer.settings.steps:
            self.status.say(self._line(trainer, record))
        else:
            self.status.renew(lambda: self._line(trainer, record, live=True))

    def finished(self, trainer: Trainer) -> None:
        """The curve of the training losses, on a terminal."""
        losses = self._losses
        if self.status.on_terminal and len(losses) >= LEAST_FOR_A_CURVE:
            ends = f"loss of this training: {losses[0]:.3f} ", f" {losses[-1]:.3f}"
            room = columns(self.status.stream) - 1 - sum(map(len, ends))
            if curve := sparkline(losses, min(60, max(room, 1)), self.status.stream):
                self.status.say(curve.join(ends))

    def _line(self, trainer: Trainer, record: dict[str, Any], live: bool = False) -> str:
        figures = self._figures(trainer, record, live and self.status.on_terminal)
        if self.status.on_terminal:
            width = columns(self.status.stream) - 1
            while len(figures) > 1 and len(" | ".join(text for _, text in figures)) > width:
                figures.remove(max(figures, key=lambda figure: figure[0]))
        return " | ".join(text for _, text in figures)

    def _figures(self, trainer: Trainer, record: dict[str, Any], live: bool) -> list[tuple[int, str]]:
        """The figures in the order in which they are shown, each with the place in which it is left out, last first."""
        steps, recent = trainer.settings.steps, len(self._recent)
        per_step = (time.monotonic() - self._started) / (record["step"] - self._first_step)
        step = f"step {record['step']:>{len(str(steps))}}/{steps}"
        loss = f"loss {sum(self._recent) / recent:.3f} ({recent} step{'s' * (recent > 1)})"
        if live:
            step += f" {bar(record['step'] / max(steps, 1), BAR_WIDTH, self.status.stream)}"
        figures = [(0, step), (1, loss)]
        if live and len(self._losses) >= LEAST_FOR_A_CURVE:
            figures.append((5, sparkline(self._losses, CURVE_WIDTH, self.status.stream)))
        of_tokens, validation = trainer.loss is language_model_loss, record.get("val_loss")
        if validation is not None:
            words = f"validation {validation:.3f}" + f" (perplexity {perplexity(validation):,.1f})" * of_tokens
            right = getattr(trainer.loss, "validation_figure", str)()
            figures.append((2, f"{words}, {right}" if right else words))
        elif "val_loss" in record:
            figures.append((2, "validation not finite"))
        if right := getattr(trainer.loss, "training_figure", str)():
            figures.append((3, right))
        unit = "tok" if of_tokens else getattr(trainer.loss, "unit", "examples")
        return [
            *figures,
            (7, f"lr {record['learning_rate']:.1e}"),
            (8, f"grad norm {record['grad_norm']:.2f}"),
            (6, f"{record['tokens_per_second']:,.0f} {unit}/s"),
            (4, f"{duration((steps - record['step']) * per_step)} left"),
        ]
