"""Loading a state into a module, with its checks: the body of `Module.load_state_dict`, loaded on first use."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from tinygrad_llm.arrays import Array
from tinygrad_llm.errors import DTypeError, StateDictError
from tinygrad_llm.nn.module import Buffer, Module, Parameter
from tinygrad_llm.tensor import Tensor
from tinygrad_llm.versions import mark_written


class LoadResult(NamedTuple):
    """The names that `load_state_dict(strict=False)` could not match."""

    missing: list[str]
    unexpected: list[str]


def load_state_dict(module: Module, state: Mapping[str, Any], strict: bool) -> LoadResult:
    """Copy `state` into the parameters and buffers of `module`; see `Module.load_state_dict`."""
    by_name: dict[str, Tensor] = {}
    by_name |= module.named_tensors(Parameter)
    by_name |= module.named_tensors(Buffer)
    unexpected = [name for name in state if name not in by_name]
    matched = {name: (by_name[name], _as_array(value)) for name, value in state.items() if name in by_name}
    found = {id(tensor) for tensor, _ in matched.values()}
    missing = [name for name in module.state_dict() if id(by_name[name]) not in found]
    problems = [
        f"{name} must be {tensor.shape}; got {value.shape}"
        for name, (tensor, value) in matched.items()
        if value.shape != tensor.shape
    ]
    first: dict[int, str] = {}
    for name, (tensor, value) in matched.items():
        other = first.setdefault(id(tensor), name)
        if other != name and not np.array_equal(matched[other][1], value, equal_nan=True):
            problems.append(f"{other} and {name} are one shared parameter here; got two different arrays")
    if strict:
        problems += [f"missing {name}" for name in missing] + [f"unexpected {name}" for name in unexpected]
    if problems:
        raise StateDictError(f"load_state_dict into {type(module).__name__}: " + "; ".join(problems))
    for tensor, value in matched.values():
        tensor.data[...] = value
        mark_written(tensor.data)
    return LoadResult(missing, unexpected)


def _as_array(value: Any) -> Array:
    array = value.data if isinstance(value, Tensor) else np.asarray(value)
    if array.dtype.kind not in "biufc":
        raise DTypeError(f"load_state_dict: values must be numbers; got {array.dtype}")
    return array
