"""Settings as flags: one for each field of a dataclass, and what a resumed run may do with them; and the help."""

from __future__ import annotations

import argparse
import dataclasses
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from tinygrad_llm.errors import ConfigError

# The length of a run and how it is watched, not what is being trained.
CHANGEABLE = ("steps", "eval_interval", "eval_batches", "sample_interval", "checkpoint_activations", "skip_bad_steps")


class HelpFormatter(argparse.ArgumentDefaultsHelpFormatter):
    """Tells the default of each flag that has one: `None` and an empty text say nothing to those who read the help."""

    def _get_help_string(self, action: argparse.Action) -> str | None:
        silent = action.default is None or action.default is False or action.default in ("", [])
        return action.help if silent else super()._get_help_string(action)


def add_flags(group: Any, settings: Any, leave_out: Sequence[str] = ()) -> None:
    """One flag for each field of `settings`, a dataclass or, where its help shall show the defaults, an instance of it.

    A field's metadata may hold `help`, `choices` and `metavar`.
    """
    parse: dict[str, Callable[[str], Any]] = {"int": int, "float": float, "str": str}
    for field in dataclasses.fields(settings):
        if field.name in leave_out:
            continue
        default = "" if isinstance(settings, type) else getattr(settings, field.name)
        note = " ".join(filter(None, (field.metadata.get("help"), f"(default: {default})" if default != "" else "")))
        kind = str(field.type).removesuffix(" | None")
        how: dict[str, Any] = {"type": parse.get(kind), "metavar": {"int": "N", "float": "X", "str": "NAME"}.get(kind)}
        if kind == "bool":
            how = {"action": argparse.BooleanOptionalAction}
        elif "choices" in field.metadata:
            how = {"choices": field.metadata["choices"]}
        elif "metavar" in field.metadata:
            how["metavar"] = field.metadata["metavar"]
        group.add_argument("--" + field.name.replace("_", "-"), help=note or None, **how)


def expect_run_of(command: str, config: Mapping[str, Any], out: Path) -> None:
    """Raises ConfigError where `command` is to resume a run that another one made, or a model without a training."""
    if "training" not in config:
        raise ConfigError(f"--resume goes on with a training run; the model in {out} was imported, and has none")
    maker = "train" if config.get("task") is None else f"{config['task']} train"
    if maker != command:
        raise ConfigError(
            f"{command} --resume goes on with its own runs; {out} was made by `{maker}`: continue it with "
            f"`tinygrad-llm {maker} --resume --out {out}`"
        )


def expect_file_can_be_made(flag: str, path: Path | None) -> None:
    """Refuse a file that could not be written before the work for it is done."""
    if path is not None and ((path.exists() and not path.is_file()) or not path.parent.is_dir()):
        raise ConfigError(f"{flag} must name a file in a folder that exists; got {str(path)!r}")


def change_refused(name: str, was: Any, value: Any, changeable: Sequence[str] = CHANGEABLE) -> ConfigError:
    """The error for a flag of a resumed run that contradicts the run."""
    return ConfigError(
        f"--resume goes on with the run's own settings; --{name.replace('_', '-')} was {was}, got {value}; only "
        f"{', '.join(changeable)} may change; start a new run in another --out"
    )
