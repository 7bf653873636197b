"""Methods that are composed of others, so that their gradients come from these: `x.log2()` is `x.log() / ln 2`."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from tinygrad_llm import functions
from tinygrad_llm import stack as engine_stack
from tinygrad_llm import where as engine_where
from tinygrad_llm.torch.tensor import RETURN_TYPES, Tensor, as_torch


def log2(self: Tensor) -> Any:
    return as_torch(self.log() / math.log(2))


def log10(self: Tensor) -> Any:
    return as_torch(self.log() / math.log(10))


def trace(self: Tensor) -> Any:
    """The sum of a matrix's diagonal."""
    return as_torch(functions.diagonal(self).sum())


def nan_to_num(self: Tensor, nan: float = 0.0, posinf: float | None = None, neginf: float | None = None) -> Any:
    """`nan` in place of NaN, and for ±infinity the numbers given, or the dtype's largest; they get no gradient."""
    limits = np.finfo(self.data.dtype)
    highest, lowest = limits.max if posinf is None else posinf, limits.min if neginf is None else neginf
    finite = engine_where(np.isnan(self.data), nan, self)
    finite = engine_where(np.isposinf(self.data), float(highest), finite)
    return as_torch(engine_where(np.isneginf(self.data), float(lowest), finite))


def select(self: Tensor, dim: int, index: int) -> Any:
    """The element `index` along `dim`; this axis goes."""
    return self[(*(slice(None),) * (dim % self.data.ndim), index)]


def narrow(self: Tensor, dim: int, start: int, length: int) -> Any:
    """The `length` elements along `dim` from `start` on."""
    return select(self, dim, slice(start, start + length))  # type: ignore[arg-type]


def movedim(self: Tensor, source: int | Sequence[int], destination: int | Sequence[int]) -> Any:
    """The axes `source` at the places `destination`; the others keep their order."""
    places = np.moveaxis(np.empty(range(self.data.ndim)), source, destination).shape  # axis i has the size i
    return as_torch(self.permute(*places))


def unflatten(self: Tensor, dim: int, sizes: Sequence[int]) -> Any:
    """The axis `dim` as several, of the `sizes` given, one of which may be -1."""
    at, shape = dim % self.data.ndim, self.data.shape
    known = -math.prod(sizes) if -1 in sizes else 1
    split = [shape[at] // known if size == -1 else size for size in sizes]
    return as_torch(self.reshape(*shape[:at], *split, *shape[at + 1 :]))


def cumprod(self: Tensor, dim: int) -> Any:
    """The products of the elements up to each place along `dim`."""
    products: list[Any] = list(self.unbind(dim))
    for i in range(1, len(products)):
        products[i] = products[i - 1] * products[i]
    return as_torch(engine_stack(products, dim)) if products else self


def median(self: Tensor, dim: int | None = None, keepdim: bool = False) -> Any:
    """The middle element of all, the lower of two; or along `dim`, with positions. NaN if one is."""
    x, axis = (self.reshape(-1), 0) if dim is None else (self, dim)
    order = np.argsort(x.data, axis, kind="stable")  # NaN comes last
    middle, last = (order.take([i], axis) for i in ((x.data.shape[axis] - 1) // 2, -1))
    indices = np.where(np.isnan(np.take_along_axis(x.data, last, axis)), last, middle)
    values = functions.take_along_axis(x, indices, axis)
    if dim is None:
        return as_torch(values.reshape(()))
    if not keepdim:
        values, indices = values.squeeze(axis), indices.squeeze(axis)
    return RETURN_TYPES["median"](as_torch(values), Tensor(indices))


def index_add(self: Tensor, dim: int, index: Tensor, source: Tensor, *, alpha: float = 1) -> Any:
    """x, and `source[i]` added at the place `index[i]` of `dim`, for every i; equal places add up."""
    shape = [1] * self.data.ndim
    shape[dim] = -1
    places = np.broadcast_to(np.reshape(index.data, shape), source.shape)
    return as_torch(functions.scatter_add(self, dim, places, source if alpha == 1 else source * alpha))


def index_add_(self: Tensor, dim: int, index: Tensor, source: Tensor, *, alpha: float = 1) -> Any:
    return self._rebind(index_add(self, dim, index, source, alpha=alpha))


def squeeze_(self: Tensor, *dim: int) -> Any:
    return self._rebind_shape(self.squeeze(*dim))


def unsqueeze_(self: Tensor, dim: int) -> Any:
    return self._rebind_shape(self.unsqueeze(dim))


DERIVED = [log2, log10, trace, nan_to_num, select, narrow, movedim, unflatten, cumprod, median]
DERIVED += [index_add, index_add_, squeeze_, unsqueeze_]
for _method in DERIVED:
    setattr(Tensor, _method.__name__, _method)
