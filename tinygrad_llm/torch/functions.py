"""Functions of Tensors: most are the method of the same name, `torch.exp(x)` for `x.exp()`; the others stand here."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from tinygrad_llm import cat as engine_cat
from tinygrad_llm import functions
from tinygrad_llm import stack as engine_stack
from tinygrad_llm import where as engine_where
from tinygrad_llm.torch.derived import DERIVED
from tinygrad_llm.torch.tensor import EngineTensor, Tensor, as_torch
from tinygrad_llm.torch.types import as_dtype

METHODS = ["exp", "log", "sqrt", "tanh", "sigmoid", "relu", "abs", "erf", "neg", "pow", "maximum", "minimum"]
METHODS += ["masked_fill", "matmul", "sum", "mean", "var", "logsumexp", "cumsum", "argmax", "reshape", "transpose"]
METHODS += ["permute", "squeeze", "unsqueeze", "tril", "triu", "split", "clamp", "mm", "bmm", "swapaxes", "absolute"]
METHODS += ["add", "sub", "mul", "div", "eq", "ne", "lt", "le", "gt", "ge", "sin", "cos", "square", "rsqrt", "log1p"]
METHODS += ["expm1", "prod", "std", "norm", "gather", "scatter_add", "sort", "argsort", "topk", "argmin", "outer"]
METHODS += ["repeat_interleave", "chunk", "flip", "roll", "diagonal", "isnan", "isfinite", "isinf", "any", "all"]
METHODS += ["logaddexp", "remainder", "max", "min", "softmax", "log_softmax", "allclose", "isclose", "equal", "floor"]
METHODS += ["ceil", "round", "sign", "bincount", "unique", "multinomial", "dot", "flatten", "t", "unbind", "clone"]
METHODS += ["masked_select", "index_select", "nonzero", "numel", "logical_and", "logical_or", "logical_not"]
METHODS += ["bitwise_and", "bitwise_or", "amax", "amin", "count_nonzero", "reciprocal", "floor_divide", "ravel"]
METHODS += ["clip"]
METHODS += [method.__name__ for method in DERIVED if not method.__name__.endswith("_")]


def as_function(name: str) -> Callable[..., Any]:
    """`f(input, ...)` for the method `input.f(...)`."""

    def function(input: Any, *args: Any, **kwargs: Any) -> Any:
        x = _as_this_wings(input)
        return getattr(x, name)(*args, **kwargs)

    function.__name__ = function.__qualname__ = name
    function.__doc__ = getattr(Tensor, name).__doc__
    return function


def _as_this_wings(x: Any) -> Tensor:
    return as_torch(x) if isinstance(x, EngineTensor) else Tensor(np.asarray(x))


def cat(tensors: Sequence[Any], dim: int = 0) -> Any:
    """Tensors joined along an axis that they have."""
    return as_torch(engine_cat(tensors, dim))


concat = concatenate = cat


def stack(tensors: Sequence[Any], dim: int = 0) -> Any:
    """Tensors of one shape along a new axis."""
    return as_torch(engine_stack(tensors, dim))


def where(condition: Any, input: Any = None, other: Any = None) -> Any:
    """`input` where the condition holds, else `other`; without them, the positions where it holds."""
    if input is None and other is None:
        return _as_this_wings(condition).nonzero(as_tuple=True)
    return as_torch(engine_where(condition, input, other))


def einsum(equation: str, *operands: Any) -> Any:
    """Einstein's notation; see `tinygrad_llm.functions.einsum`."""
    given = operands[0] if len(operands) == 1 and isinstance(operands[0], list | tuple) else operands
    return as_torch(functions.einsum(equation, *given))


def hstack(tensors: Sequence[Any]) -> Any:
    """Tensors joined along their second axis, vectors along their only one."""
    return cat(tensors, 0 if tensors[0].ndim == 1 else 1)


def vstack(tensors: Sequence[Any]) -> Any:
    """Tensors joined along their first axis, vectors as rows."""
    return cat([one.reshape(1, -1) if one.ndim == 1 else one for one in tensors])


def take_along_dim(input: Any, indices: Any, dim: int) -> Any:
    return as_torch(functions.take_along_axis(input, indices, dim))


def diag(input: Any, diagonal: int = 0) -> Any:
    """The diagonal of a matrix, or a matrix with a vector on its diagonal."""
    x = input if isinstance(input, EngineTensor) else Tensor(input)
    if x.ndim != 1:
        return as_torch(functions.diagonal(x, diagonal))
    places = np.diag(np.arange(1, len(x.data) + 1), diagonal)
    return as_torch(engine_where(places > 0, x[np.maximum(places - 1, 0)], 0))


def broadcast_to(input: Any, size: Sequence[int]) -> Any:
    return as_torch(input.broadcast_to(size))


def isin(elements: Any, test_elements: Any) -> Any:
    """For each element, whether `test_elements` has it."""
    found = elements.data if isinstance(elements, EngineTensor) else elements
    return Tensor(np.isin(found, test_elements.data if isinstance(test_elements, EngineTensor) else test_elements))


def is_tensor(obj: Any) -> bool:
    return isinstance(obj, EngineTensor)


def finfo(dtype: Any) -> Any:
    """NumPy's `finfo`: the limits of a floating-point dtype."""
    return np.finfo(as_dtype(dtype))


def iinfo(dtype: Any) -> Any:
    """NumPy's `iinfo`: the limits of an integer dtype."""
    return np.iinfo(as_dtype(dtype))
