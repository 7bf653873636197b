"""The arrays that a recorded operation keeps in memory for its backward."""

from __future__ import annotations

from collections.abc import Iterator
from types import CellType
from typing import Any

import numpy as np

from tinygrad_llm.arrays import Array
from tinygrad_llm.tensor import Tensor


def arrays_held(held: Any, seen: set[int] | None = None) -> Iterator[Array]:
    """The arrays in the closure of a backward: directly, in Tensors, in containers and in inner functions."""
    seen = set() if seen is None else seen
    if id(held) in seen:
        return
    seen.add(id(held))
    if isinstance(held, np.ndarray):
        yield held
    elif isinstance(held, Tensor):
        yield held.data
    elif isinstance(held, list | tuple | set):
        for item in held:
            yield from arrays_held(item, seen)
    elif isinstance(held, dict):
        yield from arrays_held(list(held.values()), seen)
    elif callable(held) and getattr(held, "__closure__", None):
        for cell in held.__closure__:
            if cell != CellType():  # not an unassigned variable
                yield from arrays_held(cell.cell_contents, seen)
