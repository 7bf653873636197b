"""`--vary NAME=VALUES`: a setting of `train`, and the list or the range of values that a search draws from."""

from __future__ import annotations

import argparse
import math
import re
from collections.abc import Sequence
from typing import Any

from tinygrad_llm.architectures import taken_by
from tinygrad_llm.cli.flags import flag_of
from tinygrad_llm.cli.suggestions import did_you_mean
from tinygrad_llm.errors import ConfigError
from tinygrad_llm.runs.search_space import Choices, Dimension, Range
from tinygrad_llm.settings import Settings, declaration
from tinygrad_llm.train.settings import TrainingSettings

INCOMPARABLE = "losses per token of different texts or tokenizers cannot be compared"
NOT_VARIED = {  # and why
    **dict.fromkeys(("data", "ids", "tokenizer", "vocab_size", "vocab_sample"), INCOMPARABLE),
    **dict.fromkeys(("eval_interval", "eval_batches", "sample_interval"), "it changes no weight"),
    **dict.fromkeys(("workers", "checkpoint_activations", "skip_bad_steps"), "it makes no better model"),
    "steps": "the rungs decide how many steps a trial has; --steps is the number of the last",
    "seed": "--seeds N trains each trial with N seeds",
}


def dimension_of(spec: str) -> Dimension:
    """What `NAME=VALUES` says. Raises: ConfigError"""
    name, equals, values = spec.partition("=")
    name = name.strip().removeprefix("--").replace("-", "_")
    known = _flags_by_name()
    if not equals or not values.strip():
        raise ConfigError(f"--vary must be NAME=VALUES, as in num_layers=2,4,6; got {spec!r}")
    if name in NOT_VARIED:
        raise ConfigError(f"--vary {name}: this setting cannot vary: {NOT_VARIED[name]}")
    if name not in known:
        raise ConfigError(f"--vary: there is no setting {name}{did_you_mean(name, known)}")
    log = values.startswith("log:")
    ends = values.removeprefix("log:").split("..")
    if log or (len(ends) == 2 and all(ends)):
        return _range(name, known[name], ends, log)
    read = [_read(name, known[name], value.strip()) for value in values.split(",")]
    for value in read:
        _expect_in_range(name, value)
    if len(read) != len({repr(value) for value in read}):
        raise ConfigError(f"--vary {name}: the values must differ; got {values}")
    return Choices(name, read)


def _range(name: str, flag: argparse.Action, ends: Sequence[str], log: bool) -> Range:
    numbers = [_read(name, flag, end.strip()) for end in ends if end.strip()]
    if len(numbers) != 2 or not all(isinstance(end, int | float) and not isinstance(end, bool) for end in numbers):
        raise ConfigError(f"--vary {name}: a range must be LOW..HIGH, two numbers; got {'..'.join(ends)!r}")
    for end in numbers:
        _expect_in_range(name, end)
    low, high = numbers
    return Range(name, low, high, log=log, whole=all(isinstance(end, int) for end in numbers))


def _flags_by_name() -> dict[str, argparse.Action]:
    """The flags of the settings that may vary."""
    from tinygrad_llm.cli import build_parser

    page = build_parser(["train"]).page_of(["train"])
    fields = {field for settings in _settings_classes() for field in settings.__dataclass_fields__}
    names = (fields | {"architecture", "preset", "size"}) - NOT_VARIED.keys()
    return {action.dest: action for action in page.actions() if action.dest in names}


def _settings_classes() -> list[type[Settings]]:
    return [TrainingSettings, *(architecture.config for architecture in taken_by("train"))]


def _read(name: str, flag: argparse.Action, text: str) -> Any:
    """A value as its flag reads it; `none` stands for the default of a setting that may be left out."""
    if isinstance(flag, argparse.BooleanOptionalAction):
        if text not in ("true", "false"):
            raise ConfigError(f"--vary {name}: values must be true or false; got {text!r}")
        return text == "true"
    if text == "none" and any(
        name in settings.__dataclass_fields__ and settings.__dataclass_fields__[name].default is None
        for settings in _settings_classes()
    ):
        return None
    try:
        return flag.type(text) if callable(flag.type) else text
    except (ValueError, argparse.ArgumentTypeError):
        raise ConfigError(f"--vary {name}: a value must be what {flag_of(name)} takes; got {text!r}") from None


def _expect_in_range(name: str, value: Any) -> None:
    """Refuse a number outside the range of its setting. Raises: ConfigError"""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return
    for settings in _settings_classes():
        if field := settings.__dataclass_fields__.get(name):
            declared = declaration(field)
            if not math.isfinite(value) or not declared.contains(value):
                wanted = re.sub(r"[{}]", "", declared.interval())
                raise ConfigError(f"--vary {name}: values must be finite and {wanted}; got {value}")
            return
