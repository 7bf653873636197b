"""Joining Tensors (cat, stack), splitting one, and padding one."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from tinygrad_llm.arrays import Array
from tinygrad_llm.errors import ShapeError
from tinygrad_llm.graph import Gradients, TensorLike, record_operation
from tinygrad_llm.primitives.indexing import Indexing
from tinygrad_llm.primitives.operands import as_tensor, beside, normalized_axis, wanted_shape

if TYPE_CHECKING:
    from tinygrad_llm.tensor import Tensor


class Joining(Indexing):
    """split and pad."""

    __slots__ = ()

    def split(self, size: int | Sequence[int], axis: int = 0) -> tuple[Tensor, ...]:
        """Pieces along `axis`: of `size` each (the last may be shorter), or of the sizes listed, as in PyTorch."""
        axis = normalized_axis("split", axis, self.ndim)
        whole = self.shape[axis]
        if isinstance(size, int | np.integer):
            if size < 1:
                raise ShapeError(f"split: the size of a piece must be at least 1; got {size}")
            sizes = [min(int(size), whole - start) for start in range(0, max(whole, 1), int(size))]
        else:
            sizes = [int(one) for one in size]
            if sum(sizes) != whole or min(sizes, default=0) < 0:
                raise ShapeError(f"split: sizes must add up to axis {axis} of shape {self.shape}; got {sizes}")
        ends = list(itertools.accumulate(sizes))
        before = (slice(None),) * axis
        return tuple(self[*before, slice(end - one, end)] for one, end in zip(sizes, ends, strict=True))

    def pad(self, pad_width: Sequence[tuple[int, int]], value: TensorLike = 0.0) -> Tensor:
        """x with `value` around it: `pad_width` is (before, after) for each axis, as in NumPy.

        dx is dz inside; a Tensor given as the value, of one element, gets the sum of dz outside.
        """
        try:
            widths = [(int(before), int(after)) for before, after in pad_width]
        except (TypeError, ValueError):
            widths = []
        if len(widths) != self.ndim or min((width for pair in widths for width in pair), default=0) < 0:
            raise ShapeError(
                f"pad: pad_width must be one (before, after) pair of counts for each of the {self.ndim} axes; "
                f"got {pad_width}"
            )
        filling = beside(value, self)
        if filling.size != 1 or (filling.dtype.kind == "c" and self.dtype.kind != "c"):
            raise ShapeError(f"pad: value must be one number of x's kind; got {filling.dtype} of shape {filling.shape}")
        inside = tuple(slice(before, before + size) for (before, _), size in zip(widths, self.shape, strict=True))
        value_shape = wanted_shape(filling)

        def backward(dz: Array) -> Gradients:
            outside = np.ones(dz.shape, bool)
            outside[inside] = False
            return dz[inside], None if value_shape is None else dz[outside].sum().reshape(value_shape)

        z = np.full([sum(pair) + size for pair, size in zip(widths, self.shape, strict=True)], filling.data, self.dtype)
        z[inside] = self.data
        return record_operation(z, (self, filling), backward)


def cat(tensors: Sequence[TensorLike], axis: int = 0) -> Tensor:
    """Concatenate Tensors along an existing axis;  each gets its slice of the gradient."""
    parts = [as_tensor(part) for part in tensors]
    if not parts:
        raise ShapeError("cat: at least one Tensor is needed; got none")
    axis = normalized_axis("cat", axis, parts[0].ndim)
    try:
        z = np.concatenate([part.data for part in parts], axis)
    except ValueError:
        raise ShapeError(
            f"cat: shapes must agree except along axis {axis}; got {[part.shape for part in parts]}"
        ) from None
    ends = list(itertools.accumulate(part.shape[axis] for part in parts))

    def backward(dz: Array) -> Gradients:
        return np.split(dz, ends[:-1], axis)

    return record_operation(z, parts, backward)


def stack(tensors: Sequence[TensorLike], axis: int = 0) -> Tensor:
    """Join Tensors of one shape along a new axis;  each gets its slice of the gradient."""
    parts = [as_tensor(part) for part in tensors]
    if not parts:
        raise ShapeError("stack: at least one Tensor is needed; got none")
    if any(part.shape != parts[0].shape for part in parts):
        raise ShapeError(f"stack: all shapes must be equal; got {[part.shape for part in parts]}")
    axis = normalized_axis("stack", axis, parts[0].ndim + 1)

    def backward(dz: Array) -> Gradients:
        return [dz.take(i, axis) for i in range(len(parts))]

    return record_operation(np.stack([part.data for part in parts], axis), parts, backward)


def split(x: TensorLike, size: int | Sequence[int], axis: int = 0) -> tuple[Tensor, ...]:
    """`x.split(size, axis)`, where x may be any array."""
    return as_tensor(x).split(size, axis)


def pad(x: TensorLike, pad_width: Sequence[tuple[int, int]], value: TensorLike = 0.0) -> Tensor:
    """`x.pad(pad_width, value)`, where x may be any array."""
    return as_tensor(x).pad(pad_width, value)
