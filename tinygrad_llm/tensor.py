"""Tensor: the graph's Variable with every primitive as a method, and its construction, printing and conversion.

The bodies of the operations are in primitives/, one class per file: `x.exp()` is defined in `Elementwise`.
"""

from __future__ import annotations

import copy
import weakref
from typing import Any

import numpy as np
from numpy.lib.mixins import NDArrayOperatorsMixin

from tinygrad_llm import primitives
from tinygrad_llm.arrays import Array, as_array
from tinygrad_llm.errors import DTypeError, GraphError, ShapeError
from tinygrad_llm.graph import TensorLike, class_of_results, is_grad_enabled, plain_tensor
from tinygrad_llm.primitives import (
    Arithmetic,
    Comparison,
    Elementwise,
    Joining,
    Matmul,
    Reduction,
    Shape,
    as_tensor,
)
from tinygrad_llm.variable import Variable


@class_of_results
class Tensor(Arithmetic, Comparison, Elementwise, Joining, Matmul, Reduction, Shape, NDArrayOperatorsMixin):
    """An n-dimensional array that remembers how it was computed.

    `Tensor(data, requires_grad=False, dtype=None)` wraps `data` without copying a NumPy array. Python floats become
    float32 and Python integers int64 (ids), unless `requires_grad` asks for a gradient, which only real numbers have;
    a NumPy array keeps its dtype. Made of computed Tensors, as in `Tensor([x * 2, y])`, it stays in their graph, unless
    it asks for a gradient of its own.

    `.data` is the ndarray; `.grad` an ndarray of the same shape, or None; `.node` the operation that made it, or None
    for a leaf. Backward refuses values that this package wrote in place after the forward; writes by NumPy into
    `.data` are not seen (`detect_anomaly` finds them).

    Raises: ShapeError for ragged lists, DTypeError for what is not a number
    """

    __slots__ = ()

    def __init__(self, data: TensorLike, requires_grad: bool = False, dtype: Any = None) -> None:
        if not requires_grad and is_grad_enabled() and _requires_grad(data):
            source = _stacked(data) if dtype is None else _stacked(data).astype(dtype)
            self.data, self.node = source.data, source.node
        else:
            self.data, self.node = as_array(_without_tensors(data), dtype, prefer_float=requires_grad), None
        self.grad = None
        self.collects_gradient = False
        if requires_grad:
            self.requires_grad = True

    @property
    def is_leaf(self) -> bool:
        """Whether no recorded operation made it."""
        return self.node is None

    def __len__(self) -> int:
        if not self.data.ndim:
            raise ShapeError("len: a 0-d Tensor has no length; use item() for its number")
        return len(self.data)

    def __repr__(self) -> str:
        numbers = np.array2string(self.data, separator=", ", precision=4, threshold=40, edgeitems=3, prefix="Tensor(")
        leaf = ", requires_grad=True" if self.collects_gradient else ""
        made_by = leaf if self.node is None else f", op={self.node.name}"
        return f"{type(self).__name__}({numbers}, shape={self.shape}, dtype={self.dtype}{made_by})"

    __hash__ = object.__hash__  # `==` compares elements, so identity is what a set or dict must use

    # -- gradients

    def retain_grad(self) -> None:
        """Keep `.grad` after backward for a computed Tensor too; a leaf keeps its own anyway."""
        if self.node is not None:
            self.node.retained = weakref.ref(self)
        elif not self.collects_gradient:
            raise GraphError("retain_grad: this Tensor does not require a gradient")

    def zero_grad(self) -> None:
        """Forget the gradient, so that the next backward starts a new sum."""
        self.grad = None

    def detach(self) -> Tensor:
        """The same array as a Tensor without history: no gradient flows through."""
        return plain_tensor(self.data)

    def __deepcopy__(self, memo: dict[int, Any]) -> Tensor:
        """A leaf of its own, with copies of data and gradient."""
        if self.node is not None:
            raise GraphError(
                f"deepcopy: a computed Tensor cannot be copied with its graph, from which no gradient would reach the "
                f"original leaves; got one made by `{self.node.name}`; copy `x.detach()`"
            )
        other = memo[id(self)] = type(self).__new__(type(self))
        other.data, other.grad, other.node = self.data.copy(), copy.copy(self.grad), None
        other.collects_gradient = self.collects_gradient
        return other

    # -- NumPy's functions on Tensors: see `primitives/numpy_functions.py`

    def __array_ufunc__(self, ufunc: np.ufunc, method: str, *inputs: Any, **options: Any) -> Any:
        return primitives.numpy_functions.apply_ufunc(ufunc, method, inputs, options)

    def __array_function__(self, function: Any, types: Any, inputs: tuple[Any, ...], options: dict[str, Any]) -> Any:
        return primitives.numpy_functions.apply_function(function, inputs, options)

    # -- conversion

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Array:
        if self.requires_grad and is_grad_enabled():
            raise GraphError(
                f"a Tensor of shape {self.shape} that requires a gradient must not become an array unnoticed: the "
                "gradient would be lost; ask for `x.data`, or leave the graph with `x.detach()` or no_grad()"
            )
        return np.array(self.data, dtype=dtype, copy=copy)

    def numpy(self) -> Array:
        """The ndarray itself, not a copy."""
        return self.data

    def item(self) -> Any:
        """The only element, as a Python number."""
        if self.data.size != 1:
            raise ShapeError(f"item: a Tensor of one element is needed; got shape {self.shape}")
        return self.data.item()

    def tolist(self) -> Any:
        return self.data.tolist()

    def __float__(self) -> float:
        return float(self.item())

    def __int__(self) -> int:
        return int(self.item())

    def __index__(self) -> int:
        if self.data.dtype.kind not in "iu":
            raise DTypeError(f"only an integer Tensor is an index; got {self.data.dtype}")
        return int(self.item())

    def __bool__(self) -> bool:
        if self.data.size != 1:
            raise ShapeError(f"the truth of a Tensor with shape {self.shape} is ambiguous; reduce it to one element")
        return bool(self.data)


def _requires_grad(data: Any) -> bool:
    """Whether `data` is a Tensor that requires a gradient, or a list with one in it."""
    if isinstance(data, list | tuple):
        return any(map(_requires_grad, data))
    return isinstance(data, Variable) and data.requires_grad


def _stacked(data: Any) -> Tensor:
    """Nested lists of Tensors as one Tensor, in their graph."""
    if isinstance(data, list | tuple):
        return primitives.stack([_stacked(part) for part in data])
    x = as_tensor(data)
    return x.reshape(x.shape)


def _without_tensors(data: Any) -> Any:
    """Nested lists with arrays in place of Tensors."""
    if isinstance(data, list | tuple) and any(isinstance(part, Variable | list | tuple) for part in data):
        return [_without_tensors(part) for part in data]
    return data.data if isinstance(data, Variable) else data
