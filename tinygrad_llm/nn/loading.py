"""Loading a state into a module: `load_state_dict`, and what opens a large model without copying its weights."""

from __future__ import annotations

import math
import mmap
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from tinygrad_llm.arrays import Array
from tinygrad_llm.errors import DTypeError, StateDictError
from tinygrad_llm.nn.module import Buffer, Module, Parameter
from tinygrad_llm.tensor import Tensor
from tinygrad_llm.versions import mark_written


class NoValues:
    """In place of a Generator, inside `no_initial_values`: zeros that nobody writes, so that they take no memory."""

    def uniform(self, low: float, high: float, shape: tuple[int, ...]) -> Array:
        """Zeros in a mapping of their own: the system gives memory to one of its pages when it is written.

        `np.zeros` may use freed memory again, and fill it.
        """
        size = 4 * math.prod(shape)
        if size < mmap.PAGESIZE:
            return np.zeros(shape, np.float32)
        private = {"flags": mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS} if hasattr(mmap, "MAP_ANONYMOUS") else {}
        try:
            return np.ndarray(shape, np.float32, mmap.mmap(-1, size, **private))
        except (OSError, OverflowError):
            raise MemoryError(f"a weight of shape {shape} takes more memory than a process can have") from None

    normal = uniform


class LoadResult(NamedTuple):
    """The names that `load_state_dict(strict=False)` could not match."""

    missing: list[str]
    unexpected: list[str]


def load_state_dict(module: Module, state: Mapping[str, Any], strict: bool) -> LoadResult:
    """Copy `state` into the parameters and buffers of `module`; see `Module.load_state_dict`."""
    matched, result = _matched(module, state, strict)
    for tensor, value in matched:
        tensor.data[...] = value
        mark_written(tensor.data)
    return result


def adopt_state_dict(module: Module, state: dict[str, Array], dtype: Any = None) -> None:
    """Make the arrays of `state` the parameters and buffers of `module`; `state` is empty afterwards.

    An array that is writable, contiguous and of the right dtype, by default the module's, is not copied, and one that
    is copied is freed before the next: a model is never in memory twice. Training writes into these arrays.

    Raises: StateDictError, DTypeError as `load_state_dict`
    """
    matched, _ = _matched(module, state, strict=True)
    state.clear()
    while matched:
        tensor, value = matched.pop()
        wanted: Any = tensor.dtype if dtype is None else dtype
        tensor.data = np.require(value, wanted, ["C_CONTIGUOUS", "ALIGNED", "WRITEABLE"])


def _matched(module: Module, state: Mapping[str, Any], strict: bool) -> tuple[list[tuple[Tensor, Array]], LoadResult]:
    """Each tensor of `module` with its value in `state`, and the names that have no partner."""
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
    return list(matched.values()), LoadResult(missing, unexpected)


def _as_array(value: Any) -> Array:
    array = value.data if isinstance(value, Tensor) else np.asarray(value)
    if array.dtype.kind not in "biufc":
        raise DTypeError(f"load_state_dict: values must be numbers; got {array.dtype}")
    return array
