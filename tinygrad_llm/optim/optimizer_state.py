"""An optimizer's state: as a dict, loading a saved one with its checks, and naming what does not fit a parameter.

Loaded on first use, since a training step needs none of it.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from typing import Any, NoReturn

import numpy as np

from tinygrad_llm import buffers
from tinygrad_llm.errors import ConfigError, DTypeError, ShapeError, StateDictError
from tinygrad_llm.optim.combined import rules_of
from tinygrad_llm.optim.optimizer import Optimizer
from tinygrad_llm.tensor import Tensor


def state_dict(optimizer: Optimizer) -> dict[str, Any]:
    """The body of `Optimizer.state_dict`."""
    positions = {parameter: position for position, parameter in enumerate(optimizer.parameters())}
    groups = [
        {**group, "params": [positions[parameter] for parameter in group["params"]]} for group in optimizer.param_groups
    ]
    state = {positions[parameter]: dict(entry) for parameter, entry in optimizer.state.items()}
    return {"state": dict(sorted(state.items())), "param_groups": groups}


def load_state_dict(optimizer: Optimizer, state_dict: Mapping[str, Any]) -> None:
    """The body of `Optimizer.load_state_dict`."""
    try:
        groups, entries = list(state_dict["param_groups"]), dict(state_dict["state"])
        sizes = [len(group["params"]) for group in groups]
    except (KeyError, TypeError, ValueError) as error:
        raise StateDictError(
            f'{optimizer.kind}: a state dict holds "state" and "param_groups"; got one that does not ({error!r})'
        ) from None
    expected_sizes = [len(group["params"]) for group in optimizer.param_groups]
    if sizes != expected_sizes:
        raise StateDictError(
            f"{optimizer.kind}: the groups must hold as many parameters as when saved; "
            f"here they hold {expected_sizes}, in the state dict {sizes}"
        )
    rules = rules_of(optimizer)
    loaded_groups = [_loaded_group(optimizer, rules[i], i, group) for i, group in enumerate(groups)]
    rule_of = [rule for rule, size in zip(rules, sizes, strict=True) for _ in range(size)]
    parameters = optimizer.parameters()
    loaded = {}
    for key, entry in entries.items():
        position = _position(optimizer, key, len(parameters))
        loaded[parameters[position]] = _loaded_state(rule_of[position], position, parameters[position], entry)
    for group, hyperparameters in zip(optimizer.param_groups, loaded_groups, strict=True):
        group.update(hyperparameters)
    optimizer.state = loaded


def _position(optimizer: Optimizer, key: Any, count: int) -> int:
    if not (isinstance(key, int) or (isinstance(key, str) and key.isdecimal())) or not 0 <= int(key) < count:
        raise StateDictError(f"{optimizer.kind}: state must be keyed by positions below {count}; got {key!r}")
    return int(key)


def _loaded_group(optimizer: Optimizer, rule: Optimizer, index: int, saved: Mapping[str, Any]) -> dict[str, Any]:
    """The hyper-parameters of a saved group, which `rule` updates."""
    own = optimizer.param_groups[index]
    names = saved.get("param_names")
    if isinstance(names, list | tuple) and list(names) != own.get("param_names", list(names)):
        pairs = itertools.zip_longest(own["param_names"], names)
        here, there = next(pair for pair in pairs if pair[0] != pair[1])
        raise StateDictError(
            f"{optimizer.kind}: group {index} must list the same parameters in the same order as when saved; "
            f"here comes {here}, in the state dict {there}"
        )
    if missing := rule.defaults.keys() - saved.keys():
        raise StateDictError(
            f"{rule.kind}: group {index} of a state dict must give {', '.join(rule.defaults)}; "
            f"missing {', '.join(sorted(missing))}; was it saved by another kind of optimizer?"
        )
    values = {key: saved[key] for key in rule.defaults}
    values = {key: tuple(value) if isinstance(value, list) else value for key, value in values.items()}
    try:
        rule.check_hyperparameters(values)
    except ConfigError as error:
        raise StateDictError(f"{rule.kind}: group {index} of the state dict does not hold: {error}") from None
    return values


def _loaded_state(optimizer: Optimizer, position: int, parameter: Tensor, saved: Any) -> dict[str, Any]:
    expected = {*optimizer.state_arrays, *(["step"] if optimizer.counts_steps else [])}
    if not isinstance(saved, Mapping) or saved.keys() != expected:
        got = sorted(map(str, saved)) if isinstance(saved, Mapping) else type(saved).__name__
        raise StateDictError(f"{optimizer.kind}: the state of {position} must hold {sorted(expected)}; got {got}")
    entry: dict[str, Any] = {}
    if optimizer.counts_steps:
        step = saved["step"]
        if isinstance(step, bool) or not isinstance(step, int | np.integer) or step < 0:
            raise StateDictError(f"{optimizer.kind}: step of {position} must be a count of steps; got {step!r}")
        entry["step"] = int(step)
    for key in optimizer.state_arrays:
        array = saved[key]
        if not isinstance(array, np.ndarray) or (array.shape, array.dtype) != (parameter.shape, parameter.dtype):
            got = f"{array.dtype} {array.shape}" if isinstance(array, np.ndarray) else type(array).__name__
            raise StateDictError(
                f"{optimizer.kind}: {key} of {position} must be an array like its parameter, {parameter.dtype} "
                f"{parameter.shape}; got {got}"
            )
        entry[key] = buffers.copy(array)
    return entry


def refuse_update(optimizer: Optimizer, group: Mapping[str, Any], index: int) -> NoReturn:
    """Raises the error that names why a parameter, its gradient or its state cannot be updated."""
    parameter = group["params"][index]
    data, grad = parameter.data, parameter.grad
    name = group["param_names"][index] if "param_names" in group else f"parameter {index}"
    if not data.flags.writeable:
        raise DTypeError(f"{optimizer.kind}: parameters must be writable; the array of {name} is read-only; copy it")
    if grad.shape != data.shape:
        raise ShapeError(f"{optimizer.kind}: the gradient of {name} must be {data.shape}; got {grad.shape}")
    if grad.dtype != data.dtype:
        raise DTypeError(f"{optimizer.kind}: the gradient of {name} must be {data.dtype}; got {grad.dtype}")
    raise DTypeError(
        f"{optimizer.kind}: {name} is now {data.dtype} {data.shape}, unlike in earlier steps; convert the model "
        "first, then make its optimizer"
    )
