"""Why a path is no run folder, and which command or path was probably meant."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from tinygrad_llm.runs.checkpoints import CONFIG
from tinygrad_llm.runs.hints import command

HUGGING_FACE = ("architectures", "transformers_version", "torch_dtype", "model_type")  # in its config.json


def why_no_run(path: Path, shown: str) -> str:
    """The error for a path without a run's config.json; `shown` is the path as the error says it."""
    no_run = f"{shown} is no run folder"
    if os.path.isfile(path):
        return (
            f"{no_run}: it is a file; name the folder that a training made (`{command('list')}` shows those in runs/)"
        )
    if not os.path.isdir(path):
        return f"{no_run}: there is none of that name; `{command('list')}` shows those in runs/"
    return f"{no_run}: it has no {CONFIG}; `{command('list')}` shows those in runs/, and `{command('train')}` makes one"


def is_huggingface(config: Any) -> bool:
    """Whether a config.json is that of a Hugging Face folder and not of a run."""
    return isinstance(config, dict) and "version" not in config and any(name in config for name in HUGGING_FACE)


def import_hint(path: Path) -> str:
    """The error for a Hugging Face folder in the place of a run folder."""
    made = command("import", "--from", path, "--out", Path("runs") / path.resolve().name)
    return f"{path} is no run folder, but a model of Hugging Face: make a run of it with `{made}`"
