"""The effect of a fault on training: the loss curve of a short training with it, next to that of one without."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from tinygrad_llm.data import WindowBatches, WindowLoader, train_validation_split
from tinygrad_llm.errors import AnomalyError
from tinygrad_llm.models import GPT, GPTConfig
from tinygrad_llm.random import Generator, manual_seed
from tinygrad_llm.text import CharTokenizer
from tinygrad_llm.text.corpora import PYTHON_DOCS, load_text
from tinygrad_llm.train import Callback, Trainer, TrainingSettings
from tinygrad_llm.verify.fault import Fault

STEPS = 250
CHARACTERS = 60_000  # of the training text
CONTEXT, BATCH = 16, 16


@dataclass
class Curve(Callback):
    """The loss of each step of one training, the last validation loss, and the error that ended it, if any.

    `progress(steps_done)` is called after each step. Units: nats per character.
    """

    losses: list[float] = field(default_factory=list)
    validation: float = float("nan")
    ended: str = ""
    progress: Callable[[int], None] = field(default=lambda _: None, compare=False)

    def step_finished(self, trainer: Trainer, record: dict[str, Any]) -> None:
        self.losses.append(record["train_loss"])
        self.validation = record.get("val_loss", self.validation)
        self.progress(record["step"])


def train_with(fault: Fault | None, steps: int = STEPS, progress: Callable[[int], None] = lambda _: None) -> Curve:
    """Train a small GPT on characters of Python's documentation, with a fault or without."""
    text = load_text(PYTHON_DOCS)[:CHARACTERS]
    tokenizer = CharTokenizer.train(text)
    training, validation = train_validation_split(np.array(tokenizer.encode_ordinary(text)), 0.1)
    curve = Curve(progress=progress)
    config = GPTConfig(
        vocab_size=tokenizer.vocab_size,
        context_length=CONTEXT,
        embedding_dim=64,
        num_heads=2,
        num_layers=2,
        dropout=0.1,
        tie_weights=True,
    )
    settings = TrainingSettings(
        steps=steps,
        batch_size=BATCH,
        learning_rate=0.01,
        warmup_steps=10,
        weight_decay=0.01,
        eval_interval=0,
        eval_batches=4,
        workers=1,  # a fault is a patch of this process
    )
    with nullcontext() if fault is None else fault.on():
        manual_seed(0)
        loader = WindowLoader(training, CONTEXT, BATCH, Generator(1))
        batches = WindowBatches(validation, CONTEXT, BATCH)
        try:
            Trainer(GPT(config, init="gpt2"), loader, settings, batches, callbacks=[curve]).train()
        except AnomalyError as error:
            curve.ended = str(error).split(". ")[0]
    return curve


def plot(sound: Curve, faulty: Curve, width: int = 60, height: int = 12) -> str:
    """Both curves as text: `.` without the fault, `x` with it, `#` for both. Losses above the top are cut off."""
    curves = [_column_means(curve.losses, len(sound.losses), width) for curve in (sound, faulty)]
    finite = [loss for loss in (*curves[0], *curves[1]) if np.isfinite(loss)]
    low, high = min(finite), min(max(finite), 1.5 * max(curves[0]))
    grid = [[" "] * width for _ in range(height)]
    for mark, curve in zip(".x", curves, strict=True):
        for column, loss in enumerate(curve):
            if np.isfinite(loss):
                row = round((height - 1) * (1 - (min(loss, high) - low) / max(high - low, 1e-9)))
                grid[row][column] = mark if grid[row][column] == " " else "#"
    spacing, last_step = (high - low) / (height - 1), f"step {len(sound.losses)}"
    picture = [f"{high - i * spacing:6.2f} |{''.join(row)}".rstrip() for i, row in enumerate(grid)]
    return "\n".join([*picture, f"       +{'-' * width}", f"        step 1{last_step.rjust(width - 6)}"])


def _column_means(losses: list[float], steps: int, width: int) -> list[float]:
    """The mean loss of each column's steps; NaN after training had ended."""
    edges = np.linspace(0, steps, min(width, steps) + 1).round().astype(int)
    return [
        float(np.mean(losses[start:stop])) if losses[start:stop] else float("nan")
        for start, stop in itertools.pairwise(edges)
    ]
