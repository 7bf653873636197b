"""Splitting a Tensor, and padding one."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from tinygrad_llm.arrays import Array
from tinygrad_llm.errors import ShapeError
from tinygrad_llm.graph import Gradients, TensorLike, record_operation
from tinygrad_llm.primitives.indexing import Indexing
from tinygrad_llm.primitives.operands import beside, normalized_axis, wanted_shape

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
