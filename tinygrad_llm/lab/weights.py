"""The weights of a model: each parameter as a whole, a window of one, and one weight followed through its training."""

from __future__ import annotations

from typing import Any

import numpy as np

from tinygrad_llm.arrays import Array
from tinygrad_llm.errors import ConfigError
from tinygrad_llm.lab.backward import window
from tinygrad_llm.lab.snapshots import is_on_the_way
from tinygrad_llm.lab.timeline import Branch, Timeline
from tinygrad_llm.lab.views import View
from tinygrad_llm.tensor import Tensor

MOMENTS = {"m": "exp_avg", "v": "exp_avg_sq"}


def parameter_window(view: View, name: str, corner: list[Any] | None) -> dict[str, Any]:
    """The answer `array`: a window of one parameter, with the gradient of the step that led here and its moments."""
    parameter = parameter_of(view.model, name)
    shown = window(parameter.data, corner)
    moments = {letter: moment_of(view, parameter, key) for letter, key in MOMENTS.items()}
    arrays = {"gradient": view.gradients.get(parameter), **moments}
    more = {key: None if x is None else window(x, corner)["values"] for key, x in arrays.items()}
    return {**view.describe(), "name": name, **shown, **more}


def moment_of(view: View, parameter: Tensor, key: str) -> Array | None:
    """A moment of AdamW: the mean of past gradients, or of their squares; None before the first step."""
    state = {} if view.optimizer is None else view.optimizer.state.get(parameter, {})
    moment: Array | None = state.get(key)
    return moment


def one_weight(timeline: Timeline, branch: Branch, step: int, name: str, index: tuple[int, ...], count: int) -> Any:
    """The answer `weight`: one element at all snapshots of a branch, and at each of the `count` steps before `step`.

    `gradient` is that of the step that led to a value (clipped, as the optimizer got it), and `update` what the step
    added; an edit of the weight comes after it.

    Raises: ConfigError for a parameter or an element that the model does not have
    """
    parameter = parameter_of(timeline.trainer.model, name)
    shape = parameter.shape
    if len(index) != len(shape) or any(not 0 <= i < size for i, size in zip(index, shape, strict=True)):
        raise ConfigError(f"weight: {name} has shape {list(shape)}; got the index {list(index)[:10]}")
    position = next(i for i, one in enumerate(timeline.optimizer.parameters()) if one is parameter)
    seen = [one for one in timeline.ring.snapshots if is_on_the_way(one.step, one.applied, branch.edits, step)]
    snapshots = sorted({one.step: one for one in seen}.values(), key=lambda one: one.step)

    def moments(key: str) -> Array:
        states = [one.optimizer["state"].get(position, {}) for one in snapshots]
        return np.array([state[key][index] if key in state else 0.0 for state in states], np.float64)

    rows = timeline.follow_weight(branch, step, name, index, count)
    columns = {key: np.array([row[key] for row in rows], np.float64) for key in (rows[0] if rows else {})}
    last = rows[-1] if rows else None
    return {
        "at": f"{branch.name}@{step}",
        "step": step,
        "name": name,
        "index": list(index),
        "value": None if last is None else last["value"],
        "gradient": None if last is None else last["gradient"],
        "m": None if last is None else last["m"],
        "v": None if last is None else last["v"],
        "update": None if last is None else last["update"],
        "sparse": {
            "steps": np.array([one.step for one in snapshots], np.int32),
            "value": np.array([one.weights[name][index] for one in snapshots], np.float64),
            **{letter: moments(key) for letter, key in MOMENTS.items()},
        },
        "dense": {
            "steps": np.arange(step - len(rows) + 1, step + 1, dtype=np.int32),
            **columns,
        },
    }


def parameter_of(model: Any, name: str) -> Tensor:
    """Raises: ConfigError if the model has no such parameter"""
    found = dict(model.named_parameters()).get(name)
    if found is None:
        raise ConfigError(f"the model has no parameter {name[:100]!r}; `parameters` lists them")
    return found
