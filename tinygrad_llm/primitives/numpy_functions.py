"""What NumPy's own functions do with Tensors: `numpy.exp(x)`, `numpy.concatenate([x, y])`, `array + x`.

A Tensor that needs a gradient never becomes an array without a word. Where a NumPy function has a counterpart here, the
counterpart runs, and differentiates. Any other is refused for a Tensor that needs a gradient, with the way out; for all
other Tensors it runs on their arrays. What it writes into a Tensor (`out=x`, `numpy.copyto(x, y)`) counts as a write.
`Tensor.__array_ufunc__` and `Tensor.__array_function__` load this file, and so do `&`, `|`, `^`, `%` and `//`, which
NumPy's NDArrayOperatorsMixin makes of the ufuncs.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from tinygrad_llm import primitives
from tinygrad_llm.errors import DTypeError, GraphError
from tinygrad_llm.graph import is_grad_enabled
from tinygrad_llm.primitives.functions import cat, split, stack, where
from tinygrad_llm.primitives.operands import as_tensor, beside
from tinygrad_llm.variable import Variable
from tinygrad_llm.versions import mark_written

# NumPy's name -> the method of the first operand; the other operands are its arguments.
METHODS = {
    **{name: name for name in ("exp", "log", "sqrt", "tanh", "maximum", "minimum", "matmul", "abs", "clip")},
    **{name: name for name in ("sum", "mean", "max", "min", "cumsum", "argmax", "reshape", "squeeze", "astype")},
    **{name: name for name in ("broadcast_to", "tril", "triu")},
    "add": "add",
    "subtract": "sub",
    "multiply": "mul",
    "divide": "div",
    "power": "pow",
    "negative": "neg",
    "absolute": "abs",
    "invert": "__invert__",
    "equal": "__eq__",
    "not_equal": "__ne__",
    "less": "__lt__",
    "less_equal": "__le__",
    "greater": "__gt__",
    "greater_equal": "__ge__",
    "amax": "max",
    "amin": "min",
    "expand_dims": "unsqueeze",
    "dot": "matmul",
    "permute_dims": "permute",
    "swapaxes": "transpose",
}
LOGIC = {"bitwise_and", "bitwise_or", "bitwise_xor", "floor_divide", "remainder"}  # of functions/logic.py
FUNCTIONS: dict[str, Callable[..., Any]] = {"concatenate": cat, "concat": cat, "stack": stack, "where": where}
FUNCTIONS["split"] = split
NEAREST = {"hstack": "cat", "vstack": "cat", "append": "cat", "column_stack": "stack", "ravel": "reshape"}
NEAREST |= {"tile": "broadcast_to", "repeat": "repeat_interleave", "moveaxis": "permute", "array_split": "split"}
WITHOUT_GRADIENT = {"shape", "ndim", "size", "zeros_like", "ones_like", "empty_like", "full_like", "result_type"}
WITHOUT_GRADIENT |= {"array_equal", "allclose", "isclose", "argsort", "argmin", "count_nonzero", "may_share_memory"}
WITHOUT_GRADIENT |= {"shares_memory", "array2string", "array_repr", "array_str", "isnan", "isfinite", "isinf", "sign"}
WRITE = {"copyto", "put", "putmask", "place", "fill_diagonal", "put_along_axis"}  # into their first operand


def apply_ufunc(ufunc: np.ufunc, method: str, inputs: tuple[Any, ...], options: dict[str, Any]) -> Any:
    """`numpy.exp(x)` and the operators of arrays: `array * x`."""
    if method == "__call__" and not options and ufunc.__name__ in METHODS:
        first = beside(inputs[0], inputs[1]) if len(inputs) == 2 else as_tensor(inputs[0])
        return getattr(first, METHODS[ufunc.__name__])(*inputs[1:])
    if method == "__call__" and not options and ufunc.__name__ in LOGIC:
        return getattr(primitives.logic, ufunc.__name__)(*inputs)
    name = ufunc.__name__ if method == "__call__" else f"{ufunc.__name__}.{method}"
    try:
        result = _on_arrays(name, getattr(ufunc, method), inputs, options)
    except TypeError as error:
        raise DTypeError(f"numpy.{name}: NumPy has no form of it for these operands: {error}") from None
    if method != "__call__" or "out" in options:
        return result
    return tuple(map(as_tensor, result)) if isinstance(result, tuple) else as_tensor(result)


def apply_function(function: Callable[..., Any], inputs: tuple[Any, ...], options: dict[str, Any]) -> Any:
    """`numpy.concatenate([x, y])`, `numpy.sum(x)` and the others that are no ufuncs."""
    name = function.__name__
    options = {key: value for key, value in options.items() if value is not None}
    if name in FUNCTIONS and (name != "where" or len(inputs) == 3):
        return FUNCTIONS[name](*inputs, **options)
    if name in METHODS and not options.keys() - {"axis", "keepdims", "shape"}:
        return getattr(as_tensor(inputs[0]), METHODS[name])(*inputs[1:], **options)
    if name == "transpose":
        x = as_tensor(inputs[0])
        axes = options.get("axes", inputs[1] if len(inputs) > 1 else None)
        return x.T if axes is None else x.permute(*axes)
    return _on_arrays(name, function, inputs, options)


def _on_arrays(name: str, function: Callable[..., Any], inputs: Any, options: dict[str, Any]) -> Any:
    """NumPy's function on the arrays of Tensors, none of which may need a gradient."""
    tensors = _tensors_in((inputs, options))
    if is_grad_enabled() and name not in WITHOUT_GRADIENT and any(x.requires_grad for x in tensors):
        ours = NEAREST.get(name) or METHODS.get(name, name)
        raise GraphError(
            f"numpy.{name} would lose the gradient of a Tensor; use `{ours}` of Tensor or of tinygrad_llm.functions, "
            "if there is one, or leave the graph with `x.detach()` or no_grad()"
        )
    result = function(*_without_tensors(inputs), **_without_tensors(options))
    out = options.get("out")
    written = _tensors_in(inputs[0] if name in WRITE or name.endswith(".at") else out)
    for x in written:
        mark_written(x.data)
    return (out[0] if isinstance(out, tuple) and len(out) == 1 else out) if written and out is not None else result


def _tensors_in(value: Any) -> list[Variable]:
    if isinstance(value, Variable):
        return [value]
    parts = value.values() if isinstance(value, dict) else value if isinstance(value, list | tuple) else ()
    return [tensor for part in parts for tensor in _tensors_in(part)]


def _without_tensors(value: Any) -> Any:
    if isinstance(value, Variable):
        return value.data
    if isinstance(value, dict):
        return {key: _without_tensors(part) for key, part in value.items()}
    return type(value)(map(_without_tensors, value)) if isinstance(value, list | tuple) else value
