"""Summaries of run folders, read from their files without loading the model, and the runs of a folder, newest first."""

from __future__ import annotations

import math
from collections.abc import Container
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tinygrad_llm.architectures import taken_by
from tinygrad_llm.errors import DataError, TinygradLLMError
from tinygrad_llm.formats import read_metrics
from tinygrad_llm.formats.safetensors import read_header
from tinygrad_llm.runs.checkpoint_files import WEIGHTS
from tinygrad_llm.runs.checkpoints import CONFIG
from tinygrad_llm.runs.hints import command
from tinygrad_llm.runs.plan import command_of
from tinygrad_llm.runs.run_folder import read_config

RUNS = Path("runs")  # where the commands that train make run folders


@dataclass(frozen=True)
class RunSummary:
    """A run: its config, the shapes of its weights by name, its log, and when it was last written.

    `problem` says in one line why a damaged run cannot be read. Units: saved_at in seconds since 1970
    """

    path: Path
    saved_at: float
    config: dict[str, Any]
    shapes: dict[str, tuple[int, ...]]
    records: list[dict[str, Any]]
    problem: str = ""

    @property
    def made_by(self) -> str:
        """The command that made the run."""
        if "imported_from" in self.config:
            return "import"
        return command_of(str(self.config.get("task", "")))

    @property
    def model_type(self) -> str:
        return str(self.config.get("model_type", ""))

    @property
    def parameters(self) -> int:
        return sum(math.prod(shape) for shape in self.shapes.values())

    @property
    def step(self) -> int:
        """Optimizer steps done."""
        return int(self.records[-1]["step"]) if self.records else 0

    @property
    def steps(self) -> int:
        """Optimizer steps planned; 0 for a model that was imported."""
        training = self.config.get("training")
        steps = training.get("steps") if isinstance(training, dict) else 0
        return steps if isinstance(steps, int) else 0

    @property
    def validation_loss(self) -> float | None:
        """The latest validation loss. Units: nats per target"""
        losses = (record.get("val_loss") for record in reversed(self.records))
        return next((loss for loss in losses if isinstance(loss, int | float)), None)

    def losses(self, name: str = "train_loss") -> list[float]:
        """The finite losses of the log, one per step, or those of evaluations (`val_loss`)."""
        values = (record.get(name) for record in self.records)
        return [float(value) for value in values if isinstance(value, int | float) and math.isfinite(value)]


def summary_of(path: Path) -> RunSummary:
    """The summary of a run folder. Raises: DataError, CheckpointError, FormatError"""
    config = read_config(path)
    weights, log = path / WEIGHTS, path / "metrics.jsonl"
    newest = max(file.stat().st_mtime for file in (path / CONFIG, weights) if file.exists())
    shapes = {}
    if weights.exists():
        shapes = {name: tuple(info.shape) for name, info in read_header(weights).tensors.items()}
    return RunSummary(path, newest, config, shapes, read_metrics(log) if log.exists() else [])


def runs_in(folder: Path = RUNS) -> list[RunSummary]:
    """The run folders in `folder`, newest first; one that cannot be read has a `problem`."""
    found = []
    for config in folder.glob(f"*/{CONFIG}"):
        try:
            found.append(summary_of(config.parent))
        except (TinygradLLMError, OSError) as error:
            found.append(RunSummary(config.parent, config.stat().st_mtime, {}, {}, [], str(error)))
    return sorted(found, key=lambda run: (-run.saved_at, run.path))


def newest_run(model_types: Container[str], wanted: str, made_by: str, folder: Path = RUNS) -> Path:
    """The newest run in `folder` whose model is of one of these types and has been saved.

    `wanted` names such a model in the error, and `made_by` the command that makes one. Raises: DataError for none
    """
    for run in runs_in(folder):
        if run.model_type in model_types and run.shapes:
            return run.path
    raise DataError(
        f"--model must name the run folder of {wanted}; {folder} holds none: `{command(*made_by.split())}` makes one"
    )


def newest_taken_by(task: str) -> Path:
    """The newest run whose model the command `task` takes. Raises: DataError for none"""
    takes = taken_by(task)
    words = " or ".join(one.words for one in takes)
    return newest_run({one.name for one in takes}, words, takes[0].command)
