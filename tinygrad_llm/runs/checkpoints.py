"""The checkpoints of a run folder by their steps: `checkpoints/step-00000250/`."""

from __future__ import annotations

import os
import re
from pathlib import Path

from tinygrad_llm.errors import ConfigError

CHECKPOINTS = "checkpoints"
CONFIG = "config.json"
NAME = re.compile(r"step-(\d{8,12})")
MOST_SHOWN = 12  # steps in an error


def checkpoint_name(step: int) -> str:
    return f"step-{step:08d}"


def checkpoint_steps(run: str | os.PathLike[str]) -> list[int]:
    """The steps of a run's checkpoints, in order; empty where there is none."""
    try:
        names = os.listdir(Path(run) / CHECKPOINTS)
    except OSError:
        return []
    return sorted(int(found[1]) for found in map(NAME.fullmatch, names) if found)


def checkpoint_at(run: str | os.PathLike[str], step: int) -> Path:
    """The folder of the checkpoint after `step`. Raises: ConfigError, naming the steps that there are"""
    steps = checkpoint_steps(run)
    if step not in steps:
        known = ", ".join(map(str, steps[-MOST_SHOWN:])) or "none"
        more = f" (the last {MOST_SHOWN} of {len(steps)})" if len(steps) > MOST_SHOWN else ""
        raise ConfigError(
            f"--step must be the step of a checkpoint in {os.fspath(run)}: {known}{more}; got {step}. "
            "`train --keep-every N` keeps one every N steps"
        )
    return Path(run) / CHECKPOINTS / checkpoint_name(step)


def run_of(path: str | os.PathLike[str]) -> Path:
    """The run folder of a checkpoint's folder; any other path as it is."""
    folder = Path(path)
    is_checkpoint = folder.parent.name == CHECKPOINTS and NAME.fullmatch(folder.name) is not None
    return folder.parent.parent if is_checkpoint and os.path.isfile(folder.parent.parent / CONFIG) else folder
