"""Rotary scaling: slower rotation, so that a model reads longer texts than those that it was trained on.

    type      settings                                                  pairs of features that become slower
    linear    factor                                                    all
    llama3    factor, low_freq_factor, high_freq_factor,                those with few turns within the original context
              original_context_length
    yarn      factor, original_context_length; if given: beta_fast,     those with few turns, and all scores grow
              beta_slow, attention_factor, truncate

Scaling by "dynamic NTK" is missing: it depends on the length of the text, so cached keys would be wrong as that grows.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from tinygrad_llm.arrays import Array
from tinygrad_llm.checks import is_number
from tinygrad_llm.errors import ConfigError

REQUIRED = {
    "linear": ("factor",),
    "llama3": ("factor", "low_freq_factor", "high_freq_factor", "original_context_length"),
    "yarn": ("factor", "original_context_length"),
}
OPTIONAL: dict[str, dict[str, Any]] = {
    "yarn": {"beta_fast": 32.0, "beta_slow": 1.0, "attention_factor": None, "truncate": True}
}


def complete_scaling(scaling: Mapping[str, Any]) -> dict[str, Any]:
    """All settings of a scaling, checked: its type unless it is llama3, the default, and those that were left out.

    Raises: ConfigError for another type, settings of another type, or a number out of range
    """
    owner = "rotary_frequencies"
    kind = scaling.get("type", "llama3") if isinstance(scaling, Mapping) else None
    if not isinstance(kind, str) or kind not in REQUIRED:
        raise ConfigError(f"{owner}: scaling must have a type of {', '.join(REQUIRED)}; got {scaling!r}")
    required, optional = REQUIRED[kind], OPTIONAL.get(kind, {})
    given = {name: value for name, value in scaling.items() if name != "type"}
    if not set(required) <= given.keys() <= {*required, *optional}:
        more = f", and may have {', '.join(optional)}" if optional else ""
        raise ConfigError(f"{owner}: {kind} scaling must have {', '.join(required)}{more}; got {dict(scaling)!r}")
    settings = {**optional, **given}
    truncate = settings.pop("truncate", None)
    numbers = [value for name, value in settings.items() if (name, value) != ("attention_factor", None)]
    if not all(is_number(value) and 0 < value < math.inf for value in numbers):
        raise ConfigError(f"{owner}: scaling must have numbers above 0; got {dict(scaling)!r}")
    for low, high in (("low_freq_factor", "high_freq_factor"), ("beta_slow", "beta_fast")):
        if low in settings and not settings[low] < settings[high]:
            raise ConfigError(f"{owner}: scaling must have {low} below {high}; got {dict(scaling)!r}")
    if truncate is not None:
        if not isinstance(truncate, bool):
            raise ConfigError(f"{owner}: scaling must have truncate true or false; got {truncate!r}")
        settings["truncate"] = truncate
    return settings if kind == "llama3" else {"type": kind, **settings}


def scaled_frequencies(frequencies: Array, base: float, scaling: Mapping[str, Any]) -> Array:
    """`frequencies` of `base` after scaling. Shapes: (D / 2,) -> the same. Units: radians per token.

    Raises: ConfigError as `complete_scaling`, and for YaRN with a base of at most 1
    """
    settings = complete_scaling(scaling)
    kept = SHARE_KEPT[settings.get("type", "llama3")](frequencies, base, settings)
    return frequencies * (kept + (1 - kept) / settings["factor"])


def rotary_magnitude(scaling: Mapping[str, Any] | None) -> float:
    """The factor of every rotated query and key: √(1/t) of YaRN's temperature t, 1 without YaRN.

    0.1 ln(factor) + 1, unless `attention_factor` says another one (Peng et al. 2023, section 3.4).
    """
    settings = {} if scaling is None else complete_scaling(scaling)
    if settings.get("type") != "yarn":
        return 1.0
    given = settings["attention_factor"]
    return max(1.0, 0.1 * math.log(settings["factor"]) + 1) if given is None else float(given)


def _linear(frequencies: Array, base: float, settings: Mapping[str, Any]) -> Array:
    """No pair keeps its speed: all positions are divided by the factor (Chen et al. 2023, arXiv:2306.15595)."""
    return np.zeros_like(frequencies)


def _llama3(frequencies: Array, base: float, settings: Mapping[str, Any]) -> Array:
    """Pairs that make more than `high_freq_factor` turns within the original context keep their speed, those that make
    fewer than `low_freq_factor` do not (Grattafiori et al. 2024, arXiv:2407.21783)."""
    low, high = settings["low_freq_factor"], settings["high_freq_factor"]
    turns = settings["original_context_length"] * frequencies / (2 * math.pi)
    return np.clip((turns - low) / (high - low), 0.0, 1.0)


def _yarn(frequencies: Array, base: float, settings: Mapping[str, Any]) -> Array:
    """Pairs that make more than `beta_fast` turns keep their speed, those that make fewer than `beta_slow` do not; in
    between the share falls linearly with the number of the pair (Peng et al. 2023, arXiv:2309.00071).

    `truncate` rounds the numbers of the two pairs where this begins and ends outwards.
    """
    if base <= 1:
        raise ConfigError(f"rotary_frequencies: base must be above 1 for YaRN; got {base!r}")
    head_dim = 2 * len(frequencies)

    def pair_with(turns: float) -> float:
        return head_dim * math.log(settings["original_context_length"] / (turns * 2 * math.pi)) / (2 * math.log(base))

    first, last = pair_with(settings["beta_fast"]), pair_with(settings["beta_slow"])
    if settings["truncate"]:
        first, last = math.floor(first), math.ceil(last)
    first, last = max(first, 0), min(last, head_dim - 1)
    width = last - first if last != first else 0.001  # a step, not a division by 0
    return 1 - np.clip((np.arange(len(frequencies)) - first) / width, 0.0, 1.0)


SHARE_KEPT: dict[str, Callable[[Array, float, Mapping[str, Any]], Array]] = {
    "linear": _linear,
    "llama3": _llama3,
    "yarn": _yarn,
}
