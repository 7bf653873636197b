"""Selecting elements: slices, integer arrays, masks, triangles."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from tinygrad_llm.arrays import Array
from tinygrad_llm.errors import DTypeError, IdRangeError, ShapeError
from tinygrad_llm.graph import Gradients, TensorLike, record_operation
from tinygrad_llm.primitives.arithmetic import refuse_recorded_write
from tinygrad_llm.primitives.operands import as_tensor
from tinygrad_llm.variable import Variable
from tinygrad_llm.versions import mark_written

if TYPE_CHECKING:
    from tinygrad_llm.tensor import Tensor


class Indexing(Variable):
    """`x[key]`, `x[key] = value`, tril, triu."""

    __slots__ = ()

    def __getitem__(self, key: Any) -> Tensor:
        """z = x[key], with NumPy's rules;  dx is dz at `key`, summed where an element was read repeatedly, else 0."""
        plain, repeats = _plain_key(key)
        shape, dtype = self.shape, self.dtype
        try:
            z = self.data[plain]
        except IndexError as error:
            raise IdRangeError(f"indexing: the key must fit shape {self.shape}; {error}") from None

        def backward(dz: Array) -> Gradients:
            dx = np.zeros(shape, dtype)
            if repeats:
                np.add.at(dx, plain, dz)
            else:
                dx[plain] = dz
            return (dx,)

        return record_operation(np.asarray(z), (self,), backward)

    def __setitem__(self, key: Any, value: TensorLike) -> None:
        """Write into a Tensor that no graph has recorded; a recorded one is refused with a GraphError."""
        refuse_recorded_write(self, value)
        plain, _ = _plain_key(key)
        try:
            self.data[plain] = as_tensor(value).data
        except IndexError as error:
            raise IdRangeError(f"indexing: the key must fit shape {self.shape}; {error}") from None
        except ValueError as error:
            raise ShapeError(f"indexing: the value must fit the elements named; {error}") from None
        mark_written(self.data)

    def tril(self, diagonal: int = 0) -> Tensor:
        """The lower triangle of the last two axes, zero above `diagonal`;  so is the gradient."""
        x = _matrices("tril", self)

        def backward(dz: Array) -> Gradients:
            return (np.tril(dz, diagonal),)

        return record_operation(np.tril(x.data, diagonal), (x,), backward)

    def triu(self, diagonal: int = 0) -> Tensor:
        """The upper triangle of the last two axes, zero below `diagonal`;  so is the gradient."""
        x = _matrices("triu", self)

        def backward(dz: Array) -> Gradients:
            return (np.triu(dz, diagonal),)

        return record_operation(np.triu(x.data, diagonal), (x,), backward)


def _plain_key(key: Any) -> tuple[Any, bool]:
    """The key with arrays for Tensors and lists, and whether it may name an element more than once."""
    parts, repeats = [], False
    for part in key if isinstance(key, tuple) else (key,):
        if isinstance(part, Variable | np.ndarray | list):
            # A copy: backward uses the key again, after the caller may have changed it.
            part = np.array(part.data if isinstance(part, Variable) else part)
            if part.size == 0 and part.dtype.kind == "f":
                part = part.astype(np.int64)
            if part.dtype.kind not in "biu":
                raise DTypeError(f"indexing: an index array must hold integers or booleans; got {part.dtype}")
            repeats |= part.dtype.kind in "iu"
        elif isinstance(part, float):
            raise DTypeError(f"indexing: an index must be an integer; got {part!r}")
        parts.append(part)
    return tuple(parts), repeats


def _matrices(name: str, x: TensorLike) -> Tensor:
    x = as_tensor(x)
    if x.ndim < 2:
        raise ShapeError(f"{name}: a matrix, or a stack of them, is needed; got shape {x.shape}")
    return x
