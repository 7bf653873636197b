"""Convert any data to an ndarray of numbers, with the default dtypes of a Tensor."""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np

from tinygrad_llm.errors import DTypeError, ShapeError

Array: TypeAlias = np.ndarray[Any, np.dtype[Any]]


def as_array(data: Any, dtype: Any = None, prefer_float: bool = False) -> Array:
    """`data` as an ndarray of numbers: Python floats become float32, Python integers int64, or float32 if preferred.

    A NumPy array or scalar, or a Tensor, keeps its dtype and is not copied; `dtype` overrules all.
    Raises: ShapeError for ragged lists, DTypeError for what is not a number
    """
    if hasattr(data, "__array__"):
        array = np.asarray(data)
    else:
        try:
            array = np.asarray(data)
        except ValueError as error:
            raise ShapeError(f"Tensor: nested lists must be rectangular; {error}") from None
        if array.dtype == np.float64 and not _holds_arrays(data):
            array = array.astype(np.float32)
        elif array.dtype.kind in "iu" and prefer_float:
            array = array.astype(np.float32)
    if dtype is not None:
        try:
            dtype = np.dtype(dtype)
        except TypeError:
            raise DTypeError(f"Tensor: dtype must be a NumPy dtype; got {dtype!r}") from None
        if array.dtype.kind in "biufc" and array.dtype != dtype:
            array = array.astype(dtype)
    if array.dtype.kind not in "biufc":
        raise DTypeError(f"Tensor: data must be numbers; got {type(data).__name__} of dtype {array.dtype}")
    return array


def _holds_arrays(data: Any) -> bool:
    """Whether a list is made of arrays, whose float64 is meant, rather than of Python floats."""
    while isinstance(data, list | tuple) and data:
        data = data[0]
    return hasattr(data, "__array__")
