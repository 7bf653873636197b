"""The rows of a batch: count its examples, and take a part of them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, TypeVar

import numpy as np

from tinygrad_llm.errors import ShapeError

Batch = TypeVar("Batch")


def count_rows(batch: Any) -> int:
    """The number of examples in a batch: the length of each of its arrays and lists.

    >>> count_rows((np.zeros((3, 8)), np.zeros((3, 8))))
    3

    Raises: ShapeError if they differ in length, or the batch is not made of arrays
    """
    lengths = set(_lengths(batch))
    if len(lengths) != 1:
        raise ShapeError(
            "a batch must be arrays (or tuples, lists or dicts of them) with one row for each example; "
            f"got {type(batch).__name__} with {sorted(lengths) or 'no'} rows"
        )
    return lengths.pop()


def take_rows(batch: Batch, rows: slice) -> Batch:
    """A part of the examples of a batch, as views with the padding of the whole batch.

    Shapes: each array (B, ...) -> (b, ...), b the number of rows taken
    """
    part: Any = batch
    if isinstance(part, np.ndarray) or _is_column(part):
        return part[rows]
    if isinstance(part, Mapping):
        return {name: take_rows(value, rows) for name, value in part.items()}  # type: ignore[return-value]
    taken = [take_rows(value, rows) for value in part]
    return type(part)(*taken) if hasattr(part, "_fields") else type(part)(taken)


def _lengths(batch: Any) -> Iterator[int]:
    if (isinstance(batch, np.ndarray) and batch.ndim) or _is_column(batch):
        yield len(batch)
    elif isinstance(batch, Mapping | tuple | list):
        for part in batch.values() if isinstance(batch, Mapping) else batch:
            yield from _lengths(part)
    else:
        raise ShapeError(f"a batch must be made of arrays; got {type(batch).__name__} in it")


def _is_column(part: Any) -> bool:
    """Whether this is a list of one string for each example, as `collate` returns strings."""
    return isinstance(part, list) and all(isinstance(value, str | bytes) for value in part)
