"""The range check that optimizers, clipping and schedules give their numbers."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from tinygrad_llm.errors import ConfigError


def expect_number(owner: str, name: str, value: Any, low: float = 0.0, high: float = math.inf) -> None:
    """Raise ConfigError in the name of `owner` unless `value` is a real number with low <= value < high."""
    is_number = isinstance(value, int | float | np.integer | np.floating) and not isinstance(value, bool)
    if not is_number or not low <= value < high:
        limit = "finite" if high == math.inf else f"below {high:g}"
        raise ConfigError(f"{owner}: {name} must be a number, at least {low:g} and {limit}; got {value!r}")
