"""What every optimizer shares: parameter groups, the checks before an update, and the state that a resume needs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, ClassVar

import numpy as np

from tinygrad_llm import buffers, optim
from tinygrad_llm.arrays import Array
from tinygrad_llm.errors import ConfigError, DTypeError
from tinygrad_llm.optim.blocks import BLOCK
from tinygrad_llm.tensor import Tensor
from tinygrad_llm.versions import mark_written


class Optimizer:
    """The base class of optimizers: it holds the parameters in groups, each with its own hyper-parameters.

    `params` is an iterable of leaf Tensors, of (name, Tensor) pairs as `namedparameters()` gives, or of dicts
    `{"params": ..., "lr": ..., ...}`, one per group, whose missing hyper-parameters come from `defaults`. A Tensor
    met twice within a group (shared weights) is updated once. Names, where given, make messages clearer, and loading
    a state checks them.

    `param_groups` is a list of dicts, free to be changed between steps: a schedule writes `group["lr"]`.
    `state` maps each parameter that was ever updated to what the next update needs.

    A subclass names its state in `state_arrays` (arrays of the parameter's shape) and `counts_steps`, checks
    hyper-parameters in `check_hyperparameters`, and updates in `step`. Beside its `step` it says in `unit_of_update`
    what workers may divide: "element" or "parameter", if one is updated without regard to the others.

    Raises: ConfigError for no parameters, for what is not a leaf Tensor, for a Tensor in two groups, and for a
    hyper-parameter that is unknown or outside its range; DTypeError for parameters other than float32 and float64.
    """

    state_arrays: ClassVar[tuple[str, ...]] = ()
    counts_steps: ClassVar[bool] = False
    unit_of_update: ClassVar[str] = "all"

    def __init__(self, params: Iterable[Any], defaults: Mapping[str, Any]) -> None:
        self.kind = type(self).__name__  # for messages
        self.defaults = dict(defaults)
        self.param_groups: list[dict[str, Any]] = []
        self.state: dict[Tensor, dict[str, Any]] = {}
        self._scratch: dict[np.dtype[Any], Array] = {}
        self.check_hyperparameters(self.defaults)
        entries = self._listed(params)
        groups = entries if entries and all(isinstance(e, Mapping) for e in entries) else [{"params": entries}]
        for group in groups:
            self.add_param_group(group)
        if not any(group["params"] for group in self.param_groups):
            raise ConfigError(f"{self.kind}: at least one parameter is needed; got none; does the model have any?")

    def check_hyperparameters(self, group: Mapping[str, Any]) -> None:
        """Raise ConfigError if a hyper-parameter of `group` is outside its range."""

    def step(self) -> None:
        """Update in place every parameter that has a gradient, and leave the others and their state alone.

        Raises ShapeError or DTypeError if a gradient, or the state of earlier steps, does not fit its parameter;
        then nothing was updated.
        """
        raise NotImplementedError(f"{self.kind} must define step()")

    def zero_grad(self) -> None:
        """Forget every gradient, so that the next backward starts a new sum."""
        for parameter in self.parameters():
            parameter.grad = None

    # -- parameter groups

    def add_param_group(self, group: Mapping[str, Any]) -> None:
        """Add parameters, `{"params": ..., "lr": ..., ...}`: such as layers that are unfrozen later in training."""
        if "params" not in group:
            raise ConfigError(f'{self.kind}: a parameter group needs the key "params"; got {sorted(group)}')
        if unknown := sorted(group.keys() - self.defaults.keys() - {"params"}):
            raise ConfigError(f"{self.kind}: a group may set {', '.join(self.defaults)}; got {', '.join(unknown)}")
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
                    f"{self.kind}: each parameter belongs to one group; {name or 'one'} of shape {parameter.shape} "
                    "is in two; leave it out of one of them"
                )
        new["params"] = list(names)
        if names and all(names.values()):
            new["param_names"] = list(names.values())
        self.param_groups.append(new)

    def _listed(self, params: Iterable[Any]) -> list[Any]:
        if isinstance(params, Tensor | Mapping | np.ndarray | str) or not isinstance(params, Iterable):
            raise ConfigError(
                f"{self.kind}: parameters must be a list of Tensors, of (name, Tensor) pairs or of groups; "
                f"got one {type(params).__name__}; put it in a list"
            )
        return list(params)

    def _check_parameter(self, name: str, parameter: Any) -> None:
        if not isinstance(parameter, Tensor):
            raise ConfigError(f"{self.kind}: parameters must be Tensors; {name} is {type(parameter).__name__}")
        if not parameter.is_leaf:
            raise ConfigError(
                f"{self.kind}: parameters must be leaf Tensors, which no operation made; {name} of shape "
                f"{parameter.shape} is computed; give the Tensors it was computed from"
            )
        if parameter.dtype not in (np.float32, np.float64):
            raise DTypeError(f"{self.kind}: parameters must be float32 or float64; {name} is {parameter.dtype}")

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
                    optim.optimizer_state.refuse_update(self, group, index)
                updates.append((group, parameter, grad))
        for _, parameter, _ in updates:
            mark_written(parameter.data)
        return updates

    def new_state(self, parameter: Tensor) -> dict[str, Array]:
        """Zeros for each of `state_arrays`; workers replace this method by one that takes them from shared memory."""
        return {name: buffers.zeros(parameter.shape, parameter.dtype) for name in self.state_arrays}

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
        return optim.optimizer_state.state_dict(self)

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Take over the hyper-parameters and a copy of the state, bit for bit, or raise and change nothing.

        Positions may be strings, as JSON makes them. Raises StateDictError if groups, names, shapes or dtypes do
        not fit this optimizer's parameters.
        """
        optim.optimizer_state.load_state_dict(self, state_dict)

    def parameters(self) -> list[Tensor]:
        return [parameter for group in self.param_groups for parameter in group["params"]]
