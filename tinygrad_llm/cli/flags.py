"""Settings as flags: one for each field of a dataclass, and what a resumed run may do with them; and the help."""

from __future__ import annotations

import argparse
import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tinygrad_llm.errors import ConfigError
from tinygrad_llm.settings import Settings, declaration, kind_of

# The length of a run and how it is watched, not what is being trained.
CHANGEABLE = ("steps", "eval_interval", "eval_batches", "sample_interval", "checkpoint_activations", "skip_bad_steps")


class HelpFormatter(argparse.ArgumentDefaultsHelpFormatter):
    """Tells the default of each flag that has one: `None` and an empty text say nothing to those who read the help."""

    def _get_help_string(self, action: argparse.Action) -> str | None:
        silent = action.default is None or action.default is False or action.default in ("", [])
        return action.help if silent else super()._get_help_string(action)


def flag_of(name: str) -> str:
    """The flag of a setting: `--batch-size` of `batch_size`."""
    return "--" + name.replace("_", "-")


def add_flags(group: Any, settings: type[Settings] | Settings, leave_out: Sequence[str] = ()) -> None:
    """One flag for each setting that has a help, of a `Settings` class or an object of one, whose values are shown."""
    cls = settings if isinstance(settings, type) else type(settings)
    for field in dataclasses.fields(cls):
        if field.name in leave_out:
            continue
        declared, kind = declaration(field), kind_of(cls, field.name)
        if not declared.help:  # no flag can say it
            continue
        note = declared.help
        if not isinstance(settings, type):
            value = getattr(settings, field.name)
            known = value is not None and value is not False and value != ""
            note += f" (default: {' '.join(filter(None, (str(value), declared.unit)))})" if known else ""
        how: dict[str, Any]
        if kind is bool:
            how = {"action": argparse.BooleanOptionalAction}
        elif declared.choices:  # which the settings check, in their own words
            how = {"metavar": f"{{{','.join(declared.choices)}}}"}
        else:
            metavar = declared.metavar or {int: "N", float: "X"}.get(kind, "NAME")
            how = {"type": kind if kind in (int, float) else str, "metavar": metavar}
        group.add_argument(flag_of(field.name), help=note.replace("%", "%%") or None, **how)


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
