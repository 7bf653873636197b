"""Dividing a text, or its ids, into a part for training and a part for validation."""

from typing import Any, TypeVar

from tinygrad_llm.errors import ConfigError

Sliceable = TypeVar("Sliceable", bound=Any)


def train_validation_split(sequence: Sliceable, validation_fraction: float = 0.1) -> tuple[Sliceable, Sliceable]:
    """The first part of a text, list or array for training, and its last `validation_fraction` for validation.

    Nothing is shuffled: with neighbouring text in both parts, memorising one would lower the loss on the other.

    Raises: ConfigError unless 0 <= validation_fraction < 1
    """
    if not 0 <= validation_fraction < 1:
        raise ConfigError(f"validation_fraction must be in [0, 1); got {validation_fraction}")
    cut = int((1 - validation_fraction) * len(sequence))
    return sequence[:cut], sequence[cut:]
