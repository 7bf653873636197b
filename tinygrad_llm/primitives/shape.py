"""The same numbers in another shape or dtype. Forward gives a view where NumPy can; backward undoes the change."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from tinygrad_llm.arrays import Array
from tinygrad_llm.errors import DTypeError, ShapeError
from tinygrad_llm.graph import Axis, Gradients, plain_tensor, record_operation
from tinygrad_llm.primitives.operands import as_sizes, normalized_axes, normalized_axis, unbroadcast
from tinygrad_llm.variable import Variable

if TYPE_CHECKING:
    from tinygrad_llm.tensor import Tensor

MOST_AXES = 64  # of an array in NumPy


class Shape(Variable):
    """reshape, permute, transpose, T, squeeze, unsqueeze, broadcast_to, astype."""

    __slots__ = ()

    def reshape(self, *shape: int | Sequence[int]) -> Tensor:
        """The elements in row-major order, in `shape`; one size may be -1 and is inferred."""
        sizes, before = as_sizes("reshape", shape), self.shape
        try:
            z = self.data.reshape(sizes)
        except ValueError:
            limit = f"; a Tensor has at most {MOST_AXES} axes" if len(sizes) > MOST_AXES else ""
            raise ShapeError(f"reshape: {self.size} elements of shape {self.shape} do not fit {sizes}{limit}") from None

        def backward(dz: Array) -> Gradients:
            return (dz.reshape(before),)

        return record_operation(z, (self,), backward)

    def permute(self, *axes: int | Sequence[int]) -> Tensor:
        """The axes in a new order: axis i of the result is axis `axes[i]` of x."""
        order = as_sizes("permute", axes)
        if len(normalized_axes("permute", order, self.ndim)) != self.ndim:
            raise ShapeError(f"permute: all {self.ndim} axes must be named; got {order} for shape {self.shape}")
        back = np.argsort([axis % self.ndim for axis in order])

        def backward(dz: Array) -> Gradients:
            return (dz.transpose(back),)

        return record_operation(self.data.transpose(order), (self,), backward)

    def transpose(self, first: int, second: int) -> Tensor:
        """Swap two axes, as in PyTorch."""
        first, second = normalized_axis("transpose", first, self.ndim), normalized_axis("transpose", second, self.ndim)

        def backward(dz: Array) -> Gradients:
            return (dz.swapaxes(first, second),)

        return record_operation(self.data.swapaxes(first, second), (self,), backward)

    @property
    def T(self) -> Tensor:
        """All axes in reverse order: the transpose of a matrix."""
        return self.permute(*reversed(range(self.ndim)))

    def squeeze(self, axis: Axis = None) -> Tensor:
        """Drop axes of size 1: all of them, or those named; a named axis of another size stays, as in PyTorch."""
        dropped = tuple(i for i in normalized_axes("squeeze", axis, self.ndim) if self.shape[i] == 1)
        before = self.shape

        def backward(dz: Array) -> Gradients:
            return (dz.reshape(before),)

        return record_operation(self.data.squeeze(dropped), (self,), backward)

    def unsqueeze(self, axis: int) -> Tensor:
        """Insert an axis of size 1 at `axis` of the result."""
        axis = normalized_axis("unsqueeze", axis, self.ndim + 1)
        if self.ndim == MOST_AXES:
            raise ShapeError(f"unsqueeze: a Tensor has at most {MOST_AXES} axes; got shape {self.shape}")

        def backward(dz: Array) -> Gradients:
            return (dz.squeeze(axis),)

        return record_operation(np.expand_dims(self.data, axis), (self,), backward)

    def broadcast_to(self, shape: Sequence[int]) -> Tensor:
        """Repeat x along new axes and axes of size 1 up to `shape`;  the gradient sums over the copies."""
        before = self.shape
        try:
            z = np.broadcast_to(self.data, as_sizes("broadcast_to", (shape,)))
        except ValueError:
            raise ShapeError(f"broadcast_to: {self.shape} does not broadcast to {tuple(shape)}") from None

        def backward(dz: Array) -> Gradients:
            return (unbroadcast(dz, before),)

        return record_operation(z, (self,), backward)

    def astype(self, dtype: Any) -> Tensor:
        """The same numbers in another dtype;  the gradient returns in x's own. Integers end the graph."""
        try:
            target = np.dtype(dtype)
        except TypeError:
            raise DTypeError(f"astype: dtype must be a NumPy dtype; got {dtype!r}") from None
        if target.kind not in "biufc":
            raise DTypeError(f"astype: dtype must be one of numbers or booleans; got {target}")
        with np.errstate(all="ignore"):
            z = self.data.astype(target)
        if target.kind not in "fc":
            return plain_tensor(z)

        def backward(dz: Array) -> Gradients:
            return (dz,)  # the walk casts it to the parent's dtype

        return record_operation(z, (self,), backward)
