"""The position of a training run as a dict, and going back to it. Loaded on first use."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tinygrad_llm.errors import ConfigError
from tinygrad_llm.train.trainer import Trainer


def state_of(trainer: Trainer) -> dict[str, Any]:
    """The body of `Trainer.state`."""
    return {
        "step": trainer.step,
        "bad_steps": trainer.bad_steps,
        "val_loss": trainer.val_loss,
        "loader": None if trainer.loader is None else trainer.loader.state(),
        "generators": {name: generator.state() for name, generator in trainer.generators.items()},
    }


def restore(trainer: Trainer, state: Mapping[str, Any]) -> None:
    """Continue from a position; see `Trainer.set_state`."""
    try:
        if trainer.loader is not None:
            trainer.loader.set_state(state["loader"])
        for name, generator in trainer.generators.items():
            generator.set_state(state["generators"][name])
        trainer.step, trainer.bad_steps = int(state["step"]), int(state["bad_steps"])
        trainer.val_loss = None if state["val_loss"] is None else float(state["val_loss"])
    except (KeyError, TypeError, ValueError) as error:
        if isinstance(error, ConfigError):
            raise
        raise ConfigError(f"Trainer.set_state: needs what state() gave; {error!r}") from error
