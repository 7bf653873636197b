"""The files of a checkpoint: saving the state of a trainer in them, and restoring it."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from tinygrad_llm.checks import is_number
from tinygrad_llm.errors import CheckpointError, ConfigError, FormatError, StateDictError
from tinygrad_llm.formats import dump_safetensors, json_bytes, read_json, read_safetensors
from tinygrad_llm.formats.strict_json import shown
from tinygrad_llm.nn import Module
from tinygrad_llm.runs.environment import arithmetic_environment, differences
from tinygrad_llm.train.trainer import Trainer

WEIGHTS, OPTIMIZER, STATE = "model.safetensors", "optimizer.safetensors", "state.json"
IN_TRAINING = "training.safetensors"  # the weights in training, in checkpoints whose WEIGHTS are `finished_weights`


def files_of_checkpoint(
    trainer: Trainer,
    best: Mapping[str, Any] | None,
    finished_weights: Callable[[Module], Mapping[str, Any]] | None,
) -> dict[str, Any]:
    """What a checkpoint holds: a function that writes each file, or its bytes; see `write_snapshot`."""
    arrays, optimizer_state = separate_arrays(trainer.optimizer.state_dict())
    state = {
        "trainer": trainer.state(),
        "optimizer": optimizer_state,
        "best": best,
        "environment": arithmetic_environment(trainer.processes),
    }
    weights = {WEIGHTS: trainer.model.state_dict()}
    if finished_weights is not None:
        weights = {WEIGHTS: dict(finished_weights(trainer.model)), IN_TRAINING: _trained(trainer.model)}
    return {
        **{file: partial(dump_safetensors, tensors=tensors) for file, tensors in weights.items()},
        OPTIMIZER: partial(dump_safetensors, tensors=arrays),
        STATE: json_bytes(for_json(state), indent=None),
    }


def read_checkpoint(
    snapshot: Path, trainer: Trainer, has_finished_weights: bool = False
) -> tuple[dict[str, Any] | None, list[str]]:
    """Put `trainer` where the checkpoint was saved; returns the best checkpoint so far, and notices.

    Raises: CheckpointError if it does not fit the trainer's model and data, FormatError for a damaged file
    """
    try:
        state = read_json(snapshot / STATE)
        if not has_finished_weights:
            trainer.model.load_state_dict(read_safetensors(snapshot / WEIGHTS))
        else:  # frozen weights are those that the run began with
            trained = read_safetensors(snapshot / IN_TRAINING)
            if missing := _trained(trainer.model).keys() - trained.keys():
                raise StateDictError(f"{IN_TRAINING} lacks {', '.join(sorted(missing)[:5])}")
            trainer.model.load_state_dict(trained, strict=False)
        arrays = read_safetensors(snapshot / OPTIMIZER)
        trainer.optimizer.load_state_dict(rejoin_arrays(arrays, state["optimizer"]))
        trainer.set_state(state["trainer"])
        return _expect_best(state["best"]), differences(state["environment"], trainer.processes)
    except FormatError:  # names the file itself
        raise
    except (StateDictError, KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
        raise CheckpointError(f"{snapshot}: does not fit this run: {str(error)[:500]}") from error


def _trained(model: Module) -> dict[str, Any]:
    """The weights that the optimizer changes."""
    return {name: parameter.data for name, parameter in model.named_parameters() if parameter.requires_grad}


def separate_arrays(state: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """An optimizer's state as arrays named `position.name`, and the rest, which JSON can hold."""
    arrays: dict[str, Any] = {}
    rest = {}
    for position, entry in state["state"].items():
        arrays |= {f"{position}.{name}": value for name, value in entry.items() if isinstance(value, np.ndarray)}
        rest[str(position)] = {name: value for name, value in entry.items() if not isinstance(value, np.ndarray)}
    return arrays, {"state": rest, "param_groups": state["param_groups"]}


def rejoin_arrays(arrays: Mapping[str, Any], rest: dict[str, Any]) -> dict[str, Any]:
    """The state that `separate_arrays` took apart."""
    state = {position: dict(entry) for position, entry in rest["state"].items()}
    for name, array in arrays.items():
        position, _, part = name.partition(".")
        state[position][part] = array
    return {"state": state, "param_groups": rest["param_groups"]}


def _expect_best(best: Any) -> dict[str, Any] | None:
    """The name and validation loss of the best checkpoint, or None. Raises: ConfigError for another value"""
    if best is None:
        return None
    if not isinstance(best, dict) or not isinstance(best.get("name"), str) or not is_number(best.get("val_loss")):
        raise ConfigError(f"'best' must have a name and a val_loss; got {shown(best)}")
    return best


def for_json(value: Any) -> Any:
    """The value with lists in place of arrays and tuples, for JSON."""
    return json.loads(json.dumps(value, default=lambda array: array.tolist()))
