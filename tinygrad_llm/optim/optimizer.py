"""What every optimizer shares: parameter groups, the checks before an update, and the state that a resume needs."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping
from typing import Any, ClassVar

import numpy as np

from tinygrad_llm import buffers
from tinygrad_llm.arrays import Array
from tinygrad_llm.errors import ConfigError, DTypeError, ShapeError, StateDictError
from tinygrad_llm.optim.blocks import BLOCK
from tinygrad_llm.tensor import Tensor
from tinygrad_llm.versions import mark_written


class Optimizer:
    """The base class of optimizers: it holds the parameters in groups, each with its own hyper-parameters.

    `params` is an iterable of leaf Tensors, of (name, Tensor) pairs as `named_parameters()` gives, or of dicts
    `{"params": ..., "lr": ..., ...}`, one per group, whose missing hyper-parameters come from `defaults`. A Tensor
    met twice within a group (shared weights) is updated once. Names, where given, make messages clearer, and loading
    a state checks them.

    `param_groups` is a list of dicts, free to be changed between steps: a schedule writes `group["lr"]`.
    `state` maps each parameter that was ever updated to what the next update needs.

    A subclass names its state in `state_arrays` (arrays of the parameter's shape) and `counts_steps`, checks
    hyper-parameters in `check_hyperparameters`, and updates in `step`.

    Raises: ConfigError for no parameters, for what is not a leaf Tensor, for a Tensor in two groups, and for a
    hyper-parameter that is unknown or outside its range; DTypeError for parameters other than float32 and float64.
    """

    state_arrays: ClassVar[tuple[str, ...]] = ()
    counts_steps: ClassVar[bool] = False

    param_groups: list[dict[str, Any]]
    state: dict[Tensor, dict[str, Any]]

    def __init__(self, params: Iterable[Any], defaults: Mapping[str, Any]) -> None:
        self._kind = type(self).__name__
        self.defaults = dict(defaults)
        self.param_groups = []
        self.state = {}
        self._scratch: dict[np.dtype[Any], Array] = {}
        self.check_hyperparameters(self.defaults)
        entries = self._listed(params)
        groups = entries if entries and all(isinstance(e, Mapping) for e in entries) else [{"params": entries}]
        for group in groups:
            self.add_param_group(group)
        if not any(group["params"] for group in self.param_groups):
            raise ConfigError(f"{self._kind}: at least one parameter is needed; got none; does the model have any?")

    def check_hyperparameters(self, group: Mapping[str, Any]) -> None:
        """Raise ConfigError where a hyper-parameter of `group` is outside its range."""

    def step(self) -> None:
        """Update in place every parameter that has a gradient, and leave the others and their state alone.

        Raises ShapeError or DTypeError where a gradient, or the state of earlier steps, does not fit its parameter;
        then nothing was updated.
        """
        raise NotImplementedError(f"{self._kind} must define step()")

    def zero_grad(self) -> None:
        """Forget every gradient, so that the next backward starts a new sum."""
        for group in self.param_groups:
            for parameter in group["params"]:
                parameter.grad = None

    # -- parameter groups

    def add_param_group(self, group: Mapping[str, Any]) -> None:
        """Add parameters, `{"params": ..., "lr": ..., ...}`: such as layers that are unfrozen later in training."""
        if "params" not in group:
            raise ConfigError(f'{self._kind}: a parameter group needs the key "params"; got {sorted(group)}')
        if unknown := sorted(group.keys() - self.defaults.keys() - {"params"}):
            raise ConfigError(f"{self._kind}: a group may set {', '.join(self.defaults)}; got {', '.join(unknown)}")
        new: dict[str, Any] = {**self.defaults, **group}
        self.check_hyperparameters(new)
        names: dict[Tensor, str] = {}
        for entry in self._listed(new["params"]):
            is_named = isinstance(entry, tuple) and len(entry) == 2 and isinstance(entry[0], str)
            name, parameter = entry if is_named else ("", entry)
            self._check_parameter(name or f"parameter {len(names)}", parameter)
            names.setdefault(parameter, name)  # shared weights keep the first name they are met under
        taken = {parameter for old in self.param_groups for parameter in old["params"]}
        for parameter, name in names.items():
            if parameter in taken:
                raise ConfigError(
                    f"{self._kind}: each parameter belongs to one group; {name or 'one'} of shape {parameter.shape} "
                    "is in two; leave it out of one of them"
                )
        new["params"] = list(names)
        if names and all(names.values()):
            new["param_names"] = list(names.values())
        self.param_groups.append(new)

    def _listed(self, params: Iterable[Any]) -> list[Any]:
        if isinstance(params, Tensor | Mapping | np.ndarray | str) or not isinstance(params, Iterable):
            raise ConfigError(
                f"{self._kind}: parameters must be a list of Tensors, of (name, Tensor) pairs or of groups; "
                f"got one {type(params).__name__}; put it in a list"
            )
        return list(params)

    def _check_parameter(self, name: str, parameter: Any) -> None:
        if not isinstance(parameter, Tensor):
            raise ConfigError(f"{self._kind}: parameters must be Tensors; {name} is {type(parameter).__name__}")
        if not parameter.is_leaf:
            raise ConfigError(
                f"{self._kind}: parameters must be leaf Tensors, which no operation made; {name} of shape "
                f"{parameter.shape} is computed; give the Tensors it was computed from"
            )
        if parameter.dtype not in (np.float32, np.float64):
            raise DTypeError(f"{self._kind}: parameters must be float32 or float64; {name} is {parameter.dtype}")

    # -- what the subclasses' updates stand on

    def _updates(self) -> list[tuple[dict[str, Any], Tensor, Array]]:
        """(group, parameter, gradient) for each parameter that has one; all are checked before any is changed."""
        updates = []
        for group in self.param_groups:
            for index, parameter in enumerate(group["params"]):
                data, grad = parameter.data, parameter.grad
                if grad is None:
                    continue
                state = self.state.get(parameter, {})
                arrays = [grad, *[state[key] for key in self.state_arrays if key in state]]
                if not data.flags.writeable or any(a.shape != data.shape or a.dtype != data.dtype for a in arrays):
                    self._refuse_update(group, index)
                updates.append((group, parameter, grad))
        for _, parameter, _ in updates:
            mark_written(parameter.data)
        return updates

    def _refuse_update(self, group: Mapping[str, Any], index: int) -> None:
        parameter = group["params"][index]
        data, grad = parameter.data, parameter.grad
        name = group["param_names"][index] if "param_names" in group else f"parameter {index}"
        if not data.flags.writeable:
            raise DTypeError(f"{self._kind}: parameters must be writable; the array of {name} is read-only; copy it")
        if grad.shape != data.shape:
            raise ShapeError(f"{self._kind}: the gradient of {name} must be {data.shape}; got {grad.shape}")
        if grad.dtype != data.dtype:
            raise DTypeError(f"{self._kind}: the gradient of {name} must be {data.dtype}; got {grad.dtype}")
        raise DTypeError(
            f"{self._kind}: {name} is now {data.dtype} {data.shape}, unlike in earlier steps; convert the model "
            "first, then make its optimizer"
        )

    def _scratch_for(self, data: Array) -> Array:
        """The array for intermediate results of one piece of `data`, made once per dtype."""
        scratch = self._scratch.get(data.dtype)
        if scratch is None:
            scratch = self._scratch[data.dtype] = buffers.empty((BLOCK,), data.dtype)
        return scratch

    # -- state

    def state_dict(self) -> dict[str, Any]:
        """All that a resume needs: `{"state": {position: ...}, "param_groups": [...]}`.

        A position counts the parameters through all groups. The arrays are the optimizer's own, not copies: write
        them out, or copy them, before the next step.
        """
        positions = {parameter: position for position, parameter in enumerate(self._parameters())}
        groups = [
            {**group, "params": [positions[parameter] for parameter in group["params"]]} for group in self.param_groups
        ]
        state = {positions[parameter]: dict(entry) for parameter, entry in self.state.items()}
        return {"state": dict(sorted(state.items())), "param_groups": groups}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Take over the hyper-parameters and a copy of the state, bit for bit, or raise and change nothing.

        Positions may be strings, as JSON makes them. Raises StateDictError where groups, names, shapes or dtypes do
        not fit this optimizer's parameters.
        """
        try:
            groups, entries = list(state_dict["param_groups"]), dict(state_dict["state"])
            sizes = [len(group["params"]) for group in groups]
        except (KeyError, TypeError, ValueError) as error:
            raise StateDictError(
                f'{self._kind}: a state dict holds "state" and "param_groups"; got one that does not ({error!r})'
            ) from None
        expected_sizes = [len(group["params"]) for group in self.param_groups]
        if sizes != expected_sizes:
            raise StateDictError(
                f"{self._kind}: the groups must hold as many parameters as when saved; "
                f"here they hold {expected_sizes}, in the state dict {sizes}"
            )
        loaded_groups = [self._loaded_group(i, group) for i, group in enumerate(groups)]
        parameters = self._parameters()
        loaded = {}
        for key, entry in entries.items():
            position = self._position(key, len(parameters))
            loaded[parameters[position]] = self._loaded_state(position, parameters[position], entry)
        for group, hyperparameters in zip(self.param_groups, loaded_groups, strict=True):
            group.update(hyperparameters)
        self.state = loaded

    def _parameters(self) -> list[Tensor]:
        return [parameter for group in self.param_groups for parameter in group["params"]]

    def _position(self, key: Any, count: int) -> int:
        if not (isinstance(key, int) or (isinstance(key, str) and key.isdecimal())) or not 0 <= int(key) < count:
            raise StateDictError(f"{self._kind}: state must be keyed by positions below {count}; got {key!r}")
        return int(key)

    def _loaded_group(self, index: int, saved: Mapping[str, Any]) -> dict[str, Any]:
        own = self.param_groups[index]
        names = saved.get("param_names")
        if isinstance(names, list | tuple) and list(names) != own.get("param_names", list(names)):
            pairs = itertools.zip_longest(own["param_names"], names)
            here, there = next(pair for pair in pairs if pair[0] != pair[1])
            raise StateDictError(
                f"{self._kind}: group {index} must list the same parameters in the same order as when saved; "
                f"here comes {here}, in the state dict {there}"
            )
        if missing := self.defaults.keys() - saved.keys():
            raise StateDictError(
                f"{self._kind}: group {index} of a state dict must give {', '.join(self.defaults)}; "
                f"missing {', '.join(sorted(missing))}; was it saved by another kind of optimizer?"
            )
        values = {key: saved[key] for key in self.defaults}
        values = {key: tuple(value) if isinstance(value, list) else value for key, value in values.items()}
        try:
            self.check_hyperparameters(values)
        except ConfigError as error:
            raise StateDictError(f"{self._kind}: group {index} of the state dict does not hold: {error}") from None
        return values

    def _loaded_state(self, position: int, parameter: Tensor, saved: Any) -> dict[str, Any]:
        expected = {*self.state_arrays, *(["step"] if self.counts_steps else [])}
        if not isinstance(saved, Mapping) or saved.keys() != expected:
            got = sorted(map(str, saved)) if isinstance(saved, Mapping) else type(saved).__name__
            raise StateDictError(f"{self._kind}: the state of {position} must hold {sorted(expected)}; got {got}")
        entry: dict[str, Any] = {}
        if self.counts_steps:
            step = saved["step"]
            if isinstance(step, bool) or not isinstance(step, int | np.integer) or step < 0:
                raise StateDictError(f"{self._kind}: step of {position} must be a count of steps; got {step!r}")
            entry["step"] = int(step)
        for key in self.state_arrays:
            array = saved[key]
            if not isinstance(array, np.ndarray) or (array.shape, array.dtype) != (parameter.shape, parameter.dtype):
                got = f"{array.dtype} {array.shape}" if isinstance(array, np.ndarray) else type(array).__name__
                raise StateDictError(
                    f"{self._kind}: {key} of {position} must be an array like its parameter, {parameter.dtype} "
                    f"{parameter.shape}; got {got}"
                )
            entry[key] = buffers.copy(array)
        return entry
