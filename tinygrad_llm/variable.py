"""The part of a Tensor that the graph uses: its array, its gradient, the operation that made it, and `backward`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from tinygrad_llm import buffers
from tinygrad_llm.arrays import Array, as_array
from tinygrad_llm.errors import DTypeError, GraphError, ShapeError
from tinygrad_llm.graph import Node, TensorLike, walk_back


class Variable:
    """The base of Tensor, which adds the operations, one class for each file of primitives/, and conversions."""

    __slots__ = ("__weakref__", "collects_gradient", "data", "grad", "grad_memory", "node")

    data: Array
    grad: Array | None  # dL/d(data), of the same shape, once a backward has reached it
    grad_memory: Any  # where a leaf's gradients are summed with those of other processes, if set: a `SharedGradient`
    node: Node | None  # the operation that made it, or None for a leaf
    collects_gradient: bool  # a leaf whose `grad` a backward adds to

    @property
    def shape(self) -> tuple[int, ...]:
        return self.data.shape

    @property
    def ndim(self) -> int:
        return self.data.ndim

    @property
    def size(self) -> int:
        return self.data.size

    @property
    def dtype(self) -> np.dtype[Any]:
        return self.data.dtype

    @property
    def requires_grad(self) -> bool:
        """Whether backward reaches it: a leaf that asked for a gradient, or anything computed from one."""
        return self.collects_gradient or self.node is not None

    @requires_grad.setter
    def requires_grad(self, value: bool) -> None:
        if self.node is not None and not value:
            raise GraphError("requires_grad: a computed Tensor always requires it; use detach() to leave the graph")
        if value and self.data.dtype.kind not in "fc":
            raise DTypeError(
                f"requires_grad: only floating-point Tensors have gradients; got {self.data.dtype}; "
                "give dtype=numpy.float32"
            )
        self.collects_gradient = bool(value) and self.node is None

    def backward(self, gradient: TensorLike | None = None, retain_graph: bool = False) -> None:
        """Add dL/d(leaf) to the `.grad` of every leaf that this Tensor, L, was computed from.

        `gradient` is dL/d(self), of the same shape; it may be left out only for a single element, where it is 1. The
        graph is freed unless `retain_graph`. Raises GraphError if there is nothing to walk.
        """
        with np.errstate(all="ignore"):  # infinity and NaN follow IEEE 754, without NumPy's warnings
            for _ in self._walk(gradient, retain_graph):
                pass

    def backward_steps(self, gradient: TensorLike | None = None, retain_graph: bool = False) -> Iterator[None]:
        """`backward` as an iterator, one operation per step, for inspection.

        If it is not exhausted, the remaining graph is kept.
        """
        steps = self._walk(gradient, retain_graph)
        while True:
            with np.errstate(all="ignore"):
                if next(steps, self) is self:
                    return
            yield

    def _walk(self, gradient: TensorLike | None, retain_graph: bool) -> Iterator[None]:
        """The steps of `backward`, from its checks of the arguments on."""
        if not self.requires_grad:
            raise GraphError(
                "backward: this Tensor was not computed from one with requires_grad=True, or under no_grad; "
                "there is nothing to differentiate"
            )
        if gradient is None:
            if self.data.size != 1:
                raise GraphError(
                    f"backward: without a gradient, the Tensor must have one element; got shape {self.shape}; "
                    "reduce it (sum or mean), or give a gradient of that shape"
                )
            start = np.ones_like(self.data)
        else:
            given = gradient.data if isinstance(gradient, Variable) else gradient
            start = as_array(given, self.data.dtype).view()  # a view: it is made read-only, the caller's is not
            if start.shape != self.shape:
                raise ShapeError(f"backward: gradient must have the Tensor's shape {self.shape}; got {start.shape}")
        if self.node is None:
            self.collect(start)
        else:
            yield from walk_back(self.node, start, retain_graph)

    def gradient_of_product(self, dy: Array, x: Array) -> Array | None:
        """dW = dyᵀ x for y = x Wᵀ; None if it was added to `grad_memory`. Shapes: dy (N, O), x (N, I) -> (O, I)"""
        memory = getattr(self, "grad_memory", None)
        return buffers.matmul(dy.T, x) if memory is None else memory.add_product(dy, x)

    def collect(self, gradient: Array, rows: Array | None = None) -> None:
        """Add `gradient` to this leaf's own, or to these rows of it, if it has one."""
        if (memory := getattr(self, "grad_memory", None)) is not None:
            memory.add(gradient, rows)
        elif self.grad is not None:
            self.grad[... if rows is None else rows] += gradient
        elif gradient.flags.writeable and not buffers.is_view(gradient):
            self.grad = gradient
        else:  # shared with another branch: a leaf's own gradient may be clipped or added to in place
            self.grad = gradient.copy()
