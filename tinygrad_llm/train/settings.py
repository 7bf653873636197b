"""The settings of a training run, checked once when they are made."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from tinygrad_llm.errors import ConfigError

SCHEDULES = ("cosine", "inverse_square_root")


@dataclass(frozen=True)
class TrainingSettings:
    """How to train: what a run folder records and a resumed run must share.

    Units: `steps`, `warmup_steps` and the intervals count optimizer steps; learning rates are per step; `grad_clip` is
    a global norm, 0 for none. An interval of 0 means only at the end. `min_learning_rate` is where a cosine ends.
    Raises ConfigError naming the setting that does not fit.
    """

    steps: int = 600
    batch_size: int = 16
    grad_accumulation: int = 1  # batches per optimizer step
    learning_rate: float = 1e-3
    min_learning_rate: float = 1e-4
    schedule: str = "cosine"  # after the warm-up; "inverse_square_root" is the first Transformer's
    warmup_steps: int = 100
    beta1: float = 0.9
    beta2: float = 0.99
    weight_decay: float = 0.1
    grad_clip: float = 1.0
    eval_interval: int = 250
    eval_batches: int = 20
    sample_interval: int = 0
    seed: int = 0
    skip_bad_steps: bool = False

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
