"""The settings of a training run, checked once when they are made."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from tinygrad_llm.errors import ConfigError
from tinygrad_llm.models.config import setting

SCHEDULES = ("cosine", "inverse_square_root")


@dataclass(frozen=True)
class TrainingSettings:
    """How to train: what a run folder records and a resumed run must share.

    Units: `steps`, `warmup_steps` and the intervals count optimizer steps; learning rates are per step; `grad_clip` is
    a global norm, 0 for none. An interval of 0 means only at the end. `min_learning_rate` is where a cosine ends.
    Raises ConfigError naming the setting that does not fit.
    """

    steps: int = setting(600, "optimizer steps in all")
    batch_size: int = setting(16, "examples that a step learns from at once")
    grad_accumulation: int = setting(1, "batches whose gradients are summed for one step")
    learning_rate: float = setting(1e-3, "the highest, after the warm-up")
    min_learning_rate: float = setting(1e-4, "where a cosine ends")
    schedule: str = setting("cosine", "after the warm-up: cosine, or inverse_square_root, the first Transformer's")
    warmup_steps: int = setting(100, "steps in which the learning rate grows from 0")
    beta1: float = setting(0.9, "AdamW's memory of gradients")
    beta2: float = setting(0.99, "AdamW's memory of their squares")
    weight_decay: float = setting(0.1, "AdamW's pull of the weights towards 0")
    grad_clip: float = setting(1.0, "longest gradient of all parameters together, 0 for any")
    eval_interval: int = setting(250, "steps between looks at the validation loss, 0 for one at the end")
    eval_batches: int = setting(20, "batches of such a look")
    sample_interval: int = setting(0, "steps between samples of what the model writes, 0 for one at the end")
    seed: int = setting(0, "of all random numbers: the same seed gives the same run")
    checkpoint_activations: bool = setting(False, "recompute each block in backward: less memory, a third more time")
    skip_bad_steps: bool = setting(False, "go on after a loss or gradient that is no number, without that step")

    def __post_init__(self) -> None:
        lowest = {"steps": 0, "warmup_steps": 0, "eval_interval": 0, "sample_interval": 0, "seed": 0}
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            if field.type == "int":
                least = lowest.get(field.name, 1)
                if not isinstance(value, int | np.integer) or isinstance(value, bool) or value < least:
                    raise ConfigError(f"{field.name} must be an integer of at least {least}; got {value!r}")
            elif field.type == "float":
                number = isinstance(value, int | float) and not isinstance(value, bool)
                if not number or not math.isfinite(value) or value < 0:
                    raise ConfigError(f"{field.name} must be a finite number of at least 0; got {value!r}")
        if self.schedule not in SCHEDULES:
            raise ConfigError(f"schedule must be one of {', '.join(SCHEDULES)}; got {self.schedule!r}")
        for name in ("beta1", "beta2"):
            if getattr(self, name) >= 1:
                raise ConfigError(f"{name} must be below 1; got {getattr(self, name)}")
        if self.min_learning_rate > self.learning_rate:
            raise ConfigError(
                f"min_learning_rate must be at most learning_rate, {self.learning_rate}; got {self.min_learning_rate}"
            )
        if self.seed >= 2**32:
            raise ConfigError(f"seed must be below 2**32; got {self.seed}")

    @classmethod
    def from_dict(cls, settings: Mapping[str, Any]) -> TrainingSettings:
        """Raises ConfigError for a setting that does not exist."""
        known = [field.name for field in dataclasses.fields(cls)]
        unknown = [name for name in settings if name not in known]
        if unknown:
            raise ConfigError(f"training settings are {', '.join(known)}; got {', '.join(map(str, unknown))}")
        return cls(**settings)

    def to_dict(self) -> dict[str, Any]:
        return dataclasses.asdict(self)
