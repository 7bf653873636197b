"""Flags from a TOML file, by their names: `--config run.toml` with `steps = 500` in it is `--steps 500`.

A flag that is given wins over the file. `show RUN --config` prints the file that repeats a run.
"""

from __future__ import annotations

import argparse
import json
import tomllib
from collections.abc import Mapping
from typing import Any

from tinygrad_llm.cli.parser import Parser
from tinygrad_llm.cli.suggestions import did_you_mean

NOT_IN_FILES = ("--help", "--debug", "--config", "--resume")


class ConfigFileAction(argparse.Action):
    """Adds the flags of the file to those that were given; `config` then holds the names of those it added.

    For pages that leave out flags that were not given.
    """

    def __call__(self, parser: Any, namespace: Any, values: Any, option_string: str | None = None) -> None:
        page: Parser = parser
        found = page.parse_args(words_of_file(page, str(values)))
        new = {name: value for name, value in vars(found).items() if not hasattr(namespace, name)}
        for name, value in new.items():
            setattr(namespace, name, value)
        namespace.config = list(new)


def add_config_flag(group: Any) -> None:
    """`--config FILE`."""
    group.add_argument(
        "--config", action=ConfigFileAction, metavar="FILE", help="TOML file of flags by name; a flag given here wins"
    )


def words_of_file(page: Parser, path: str) -> list[str]:
    """The flags that a file names, as words of a command line. A file that does not fit ends in an error of `page`."""
    try:
        with open(path, "rb") as file:
            settings = tomllib.load(file)
    except OSError as error:
        page.error(f"--config {path}: {error.strerror}")
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        page.error(f"--config {path} must be a TOML file; {error}")
    known = [flag for flag in page.visible_flags() if flag.startswith("--") and flag not in NOT_IN_FILES]
    words = []
    for name, value in settings.items():
        flag = f"--{name.replace('_', '-')}"
        if flag not in known or flag.startswith("--no-"):
            page.error(f"--config {path}: there is no flag {flag}{did_you_mean(flag, known)}")
        if isinstance(value, bool):
            words.append(flag if value else f"--no-{flag[2:]}")
        elif isinstance(value, str | int | float):
            words.append(f"{flag}={value}")
        else:
            page.error(f"--config {path}: {name} must be a text, a number, true or false; got {value!r}")
    return words


def as_toml(settings: Mapping[str, Any], page: Parser) -> str:
    """The settings that `page` has flags for, as `--config` reads them; settings that are None or empty are left out.

    Several numbers are a text such as "1,3", as after the flag.
    """
    known = {flag[2:] for flag in page.visible_flags()}
    lines = []
    for name, value in settings.items():
        if isinstance(value, list | tuple):
            value = ",".join(map(str, value)) or None
        if value is not None and name.replace("_", "-") in known:
            lines.append(f"{name} = {json.dumps(value, ensure_ascii=False)}\n".replace("\x7f", "\\u007f"))
    return "".join(lines)
