"""The space of a hyper-parameter search: which settings vary, and the trials that are drawn from it."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tinygrad_llm.errors import ConfigError
from tinygrad_llm.random import Generator

DIGITS = 3  # significant digits of a drawn number, so that its flag can be typed
ATTEMPTS = 1000  # draws in a row that give no new trial, after which the space counts as used up


@dataclass(frozen=True)
class Choices:
    """A setting with a list of values, all equally likely."""

    name: str
    values: Sequence[Any]

    def draw(self, generator: Generator) -> Any:
        return self.values[int(generator.randint(0, len(self.values)))]


@dataclass(frozen=True)
class Range:
    """A setting with a number in [low, high]: uniform, or with `log` uniform in its logarithm; or only whole numbers.

    Raises: ConfigError unless low < high, both finite, and low > 0 with `log`
    """

    name: str
    low: float
    high: float
    log: bool = False
    whole: bool = False

    def __post_init__(self) -> None:
        if not (math.isfinite(self.low) and math.isfinite(self.high) and self.low < self.high):
            raise ConfigError(
                f"{self.name}: a range must rise from one finite number to another; got {self.low:g}..{self.high:g}"
            )
        if self.log and self.low <= 0:
            raise ConfigError(f"{self.name}: a log range must begin above 0; got {self.low:g}..{self.high:g}")

    def draw(self, generator: Generator) -> float | int:
        share = float(generator.rand(dtype="float64"))
        if self.whole and not self.log:
            return int(self.low) + int(share * (self.high - self.low + 1))
        low, high = (math.log(self.low), math.log(self.high)) if self.log else (self.low, self.high)
        value = low + share * (high - low)
        value = math.exp(value) if self.log else value
        if self.whole:
            return min(max(round(value), int(self.low)), int(self.high))
        return min(max(float(f"{value:.{DIGITS}g}"), self.low), self.high)


Dimension = Choices | Range


def random_trials(space: Sequence[Dimension], count: int, seed: int) -> list[dict[str, Any]]:
    """`count` different trials, the same for the same seed (random search: Bergstra and Bengio 2012).

    Raises: ConfigError if the space has fewer
    """
    generator = Generator(seed).spawn("search")
    trials: list[dict[str, Any]] = []
    while len(trials) < count:
        for _ in range(ATTEMPTS):
            trial = {dimension.name: dimension.draw(generator) for dimension in space}
            if trial not in trials:
                break
        else:
            raise ConfigError(
                f"--vary must give at least --trials {count} different trials; it gives {len(trials)}: lower --trials, "
                "try all of them with --grid, or vary more"
            )
        trials.append(trial)
    return trials


def all_trials(space: Sequence[Dimension]) -> list[dict[str, Any]]:
    """Every combination of the values. Raises: ConfigError for a range, which has no list of values"""
    for dimension in space:
        if isinstance(dimension, Range):
            raise ConfigError(
                f"a grid needs lists of values; {dimension.name} is a range: list its values, as in 1,2,4"
            )
    lists = [dimension.values for dimension in space if isinstance(dimension, Choices)]
    names = [dimension.name for dimension in space]
    return [dict(zip(names, values, strict=True)) for values in itertools.product(*lists)]


def in_words(settings: Mapping[str, Any]) -> str:
    """`learning_rate 0.0031, num_layers 4`."""
    return ", ".join(f"{name} {value}" for name, value in settings.items())
