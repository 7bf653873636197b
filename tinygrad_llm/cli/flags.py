"""Settings as flags, one for each field of a `Settings` class; the flags of every training; and the help."""

from __future__ import annotations

import argparse
import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from tinygrad_llm.cli.config_file import add_config_flag
from tinygrad_llm.errors import ConfigError
from tinygrad_llm.settings import Settings, declaration, kind_of


def flag_of(name: str) -> str:
    """The flag of a setting: `--batch-size` of `batch_size`."""
    return "--" + name.replace("_", "-")


def add_run_flags(group: Any, out: str) -> None:
    """The flags of every command that trains: its run folder, and whether and how far to continue the run in it."""
    group.add_argument("--out", metavar="DIR", help=f"the run folder (default: {out})")
    add_config_flag(group)
    group.add_argument("--resume", action="store_true", help="continue the run in --out, with its own settings")
    group.add_argument("--stop-at", type=int, metavar="STEP", help="stop after this step; --resume continues")
    group.add_argument("--keep", type=int, metavar="N", help="number of checkpoints to keep (default: 2)")
    group.add_argument(
        "--keep-every",
        type=int,
        metavar="N",
        help="save and keep a checkpoint every N steps too, to compare steps later (default: 0, none)",
    )


def add_flags(
    group: Any,
    settings: type[Settings] | Settings,
    leave_out: Sequence[str] = (),
    silent: Sequence[str] = (),
    hidden: bool = False,
) -> None:
    """One flag for each setting that has a help, of a `Settings` class or an object of one, whose values are shown.

    The values of the settings in `silent` are not shown: their help says what the default is. `hidden` flags are
    taken, but not shown.
    """
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
            known = value is not None and value is not False and value not in ("", ()) and field.name not in silent
            note += f" (default: {' '.join(filter(None, (str(value), declared.unit)))})" if known else ""
        how: dict[str, Any]
        if kind is bool:
            how = {"action": argparse.BooleanOptionalAction}
        elif kind == tuple[str, ...]:
            how = {"action": "append", "metavar": declared.metavar or "TEXT"}
        elif declared.choices and kind is str:  # which the settings check, in their own words
            how = {"metavar": declared.metavar or f"{{{','.join(declared.choices)}}}"}
        else:
            read, usual = KINDS.get(kind, (str, "NAME"))
            how = {"type": read, "metavar": declared.metavar or usual}
        group.add_argument(flag_of(field.name), help=argparse.SUPPRESS if hidden else note.replace("%", "%%"), **how)


def _number_or_word(text: str) -> int | str:
    return int(text) if text.removeprefix("-").isdecimal() else text


def seed_number(text: str) -> int:
    """The value of a flag that seeds a Generator."""
    if not text.isdecimal() or len(text.lstrip("0")) > 20 or int(text) >= 2**64:  # 20 digits: many take Python long
        raise argparse.ArgumentTypeError(f"must be an integer in 0..2**64 - 1; got {text!r}")
    return int(text)


def _whole_numbers(text: str) -> tuple[int, ...]:
    try:
        return tuple(int(number) for number in text.split(",") if number)
    except ValueError:
        raise argparse.ArgumentTypeError(f"must be whole numbers such as 1,3; got {text!r}") from None


KINDS: dict[Any, tuple[Callable[[str], Any], str]] = {  # how a value is read from its flag, and its usual name there
    int: (int, "N"),
    float: (float, "X"),
    int | str: (_number_or_word, "N"),
    tuple[int, ...]: (_whole_numbers, "N,N"),
}


def expect_at_least(least: int, **numbers: int | None) -> None:
    """Refuse a number below `least`, by the flag of its name; None is a flag that is not given."""
    for name, number in numbers.items():
        if number is not None and number < least:
            raise ConfigError(f"{flag_of(name)} must be an integer of at least {least}; got {number}")


def expect_file_can_be_made(flag: str, path: Path | None, inputs: Sequence[Path] = ()) -> None:
    """Before the work for it is done, refuse a file that could not be written, or is one of the command's inputs."""
    if path is None:
        return
    if (path.exists() and not path.is_file()) or not path.parent.is_dir():
        raise ConfigError(f"{flag} must name a file in a folder that exists; got {str(path)!r}")
    if path.exists() and any(one.exists() and path.samefile(one) for one in inputs):
        raise ConfigError(f"{flag} must not be a file that is read, which it would replace; got {str(path)!r}")
