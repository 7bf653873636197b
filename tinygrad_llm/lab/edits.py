"""Edits of a training: at a step, another learning rate or another value of one weight.

A branch is what its edits make of the same start, data and seeds, so their text form is all that brings it back:

    50:rate=0.003;80:weight=blocks.0.attention.query.weight[3,4]=0.5
"""

from __future__ import annotations

import itertools
import math
import re
from dataclasses import dataclass

from tinygrad_llm.errors import ConfigError
from tinygrad_llm.nn import Module
from tinygrad_llm.versions import mark_written

MOST_EDITS = 100
MAX_TEXT = 10_000  # characters
_RATE = re.compile(r"(\d{1,9}):rate=([-+.\deE]{1,32})", re.ASCII)
_WEIGHT = re.compile(r"(\d{1,9}):weight=([\w.]{1,200})\[([\d,]{0,100})\]=([-+.\deE]{1,32})", re.ASCII)


@dataclass(frozen=True)
class RateEdit:
    """The learning rate of all steps after `step`."""

    step: int
    rate: float

    def __str__(self) -> str:
        return f"{self.step}:rate={self.rate!r}"

    def apply(self, model: Module) -> None:
        """Nothing: the schedule reads the rate."""


@dataclass(frozen=True)
class WeightEdit:
    """The value that one element of a parameter gets after `step`."""

    step: int
    name: str
    index: tuple[int, ...]
    value: float

    def __str__(self) -> str:
        return f"{self.step}:weight={self.name}[{','.join(map(str, self.index))}]={self.value!r}"

    def apply(self, model: Module) -> None:
        """Set the element. Raises: ConfigError for a parameter or an index that the model does not have"""
        parameter = dict(model.named_parameters()).get(self.name)
        if parameter is None:
            raise ConfigError(f"an edit must name a parameter of the model; got {self.name!r}")
        shape = parameter.shape
        if len(self.index) != len(shape) or any(not 0 <= i < size for i, size in zip(self.index, shape, strict=True)):
            raise ConfigError(f"{self.name} has shape {shape}; got the index {list(self.index)}")
        parameter.data[self.index] = self.value
        mark_written(parameter.data)


Edit = RateEdit | WeightEdit
Edits = tuple[Edit, ...]


def text_of(edits: Edits) -> str:
    return ";".join(map(str, edits))


def edits_of(text: str) -> Edits:
    """The edits that `text_of` wrote, in the order of their steps. Raises: ConfigError"""
    parts = text.split(";") if text else []
    if len(text) > MAX_TEXT or len(parts) > MOST_EDITS:
        raise ConfigError(f"edits: at most {MOST_EDITS} in {MAX_TEXT:,} characters; got {len(parts)}")
    edits = [_edit_of(part) for part in parts]
    if any(later.step < edit.step for edit, later in itertools.pairwise(edits)):
        raise ConfigError("edits: they must stand in the order of their steps")
    return tuple(edits)


def _edit_of(text: str) -> Edit:
    if found := _RATE.fullmatch(text):
        return RateEdit(int(found[1]), expect_rate(_number(found[2], text)))
    if found := _WEIGHT.fullmatch(text):
        index = tuple(int(i) for i in found[3].split(",") if i)
        return WeightEdit(int(found[1]), found[2], index, expect_finite(_number(found[4], text)))
    raise ConfigError(f"an edit is STEP:rate=NUMBER or STEP:weight=PARAMETER[INDEX]=NUMBER; got {text[:200]!r}")


def _number(text: str, edit: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise ConfigError(f"an edit ends with a number; got {edit[:200]!r}") from None


def expect_rate(rate: float) -> float:
    """Raises ConfigError unless it is a learning rate: finite, at least 0."""
    if not (math.isfinite(rate) and rate >= 0):
        raise ConfigError(f"a learning rate must be at least 0 and finite; got {rate}")
    return rate


def expect_finite(value: float) -> float:
    """Raises ConfigError unless a float32 can hold the value."""
    if not abs(value) < 3e38:
        raise ConfigError(f"a weight must be a finite float32; got {value}")
    return value
