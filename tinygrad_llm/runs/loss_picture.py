"""A picture of the loss curves of a run, if matplotlib is installed (extra `plots`)."""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tinygrad_llm.errors import MissingPackageError
from tinygrad_llm.train.evaluation import perplexity


def can_draw() -> bool:
    """Whether matplotlib is installed."""
    return importlib.util.find_spec("matplotlib") is not None


def draw_losses(records: Sequence[dict[str, Any]], path: Path, of_tokens: bool = True) -> None:
    """Draw training and validation loss over the steps of `records` into a PNG file.

    Units: nats per token, or per target where they are not `of_tokens`

    Raises: MissingPackageError if matplotlib is not installed
    """
    if not can_draw():
        raise MissingPackageError("a picture needs matplotlib; install it with `pip install 'tinygrad-llm[plots]'`")
    from matplotlib.figure import Figure  # without pyplot: no window system, no global state

    unit = "nats per token" if of_tokens else "nats per target"
    figure = Figure(figsize=(8, 5), layout="constrained")
    axes = figure.subplots()
    trained = [record for record in records if record.get("train_loss") is not None]
    evaluated = [record for record in records if record.get("val_loss") is not None]
    axes.plot(
        [record["step"] for record in trained],
        [record["train_loss"] for record in trained],
        color="C0",
        alpha=0.6,
        linewidth=1,
        label="training",
    )
    if evaluated:
        last = evaluated[-1]
        axes.plot(
            [record["step"] for record in evaluated],
            [record["val_loss"] for record in evaluated],
            color="C1",
            marker="o",
            markersize=4,
            label="validation",
        )
        of_loss = f" (perplexity {perplexity(last['val_loss']):,.1f})" * of_tokens
        axes.set_title(f"validation loss {last['val_loss']:.3f} {unit}{of_loss} at step {last['step']}")
    axes.set_xlabel("optimizer step")
    axes.set_ylabel(f"loss ({unit})")
    axes.grid(alpha=0.3)
    axes.legend()
    figure.savefig(path, dpi=120)
