"""Checks of a differentiable function: value, gradient, broadcasting, dtype, memory layout, errors.

Each check takes the function and NumPy arrays, and raises CheckError, or GradcheckError, that names the first property
that does not hold. They need no test runner: call them from pytest, from `unittest`, or by hand.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from tinygrad_llm import Tensor, gradcheck
from tinygrad_llm.errors import CheckError, TinygradLLMError

Array = np.ndarray[Any, np.dtype[Any]]
Op = Callable[..., Any]


def check_op(op: Op, reference: Op, *arrays: Array, rtol: float = 1e-13, atol: float = 1e-14) -> None:
    """All checks of this file but `check_broadcasting` and `check_error`, on the same arrays.

    Raises: CheckError or GradcheckError for the first that does not hold
    """
    check_value(op, reference, *arrays, rtol=rtol, atol=atol)
    check_dtype(op, *arrays)
    check_layout(op, *arrays)
    check_gradient(op, *arrays)


def check_value(op: Op, reference: Op, *arrays: Array, rtol: float = 1e-13, atol: float = 1e-14) -> None:
    """`op` of Tensors equals `reference` of the arrays in shape, dtype and value, without recording a graph.

    Raises: CheckError if it does not
    """
    results, expected = _each(op(*map(Tensor, arrays))), _each(reference(*arrays))
    if len(results) != len(expected):
        raise CheckError(f"value: op must give {len(expected)} results as the reference does; got {len(results)}")
    for result, value in zip(results, expected, strict=True):
        _expect_equal("value", result.data, np.asarray(value), rtol, atol)
        if result.requires_grad:
            raise CheckError("value: nothing may be recorded where no input requires a gradient; requires_grad is True")


def check_gradient(op: Op, *arrays: Array) -> None:
    """The gradient of every floating-point input agrees with finite differences, in float64 (see `gradcheck`).

    Raises: GradcheckError naming the worst element
    """
    inputs = [Tensor(array, requires_grad=array.dtype.kind == "f") for array in arrays]
    if any(one.requires_grad for one in inputs):
        gradcheck(op, inputs)


def check_dtype(op: Op, *arrays: Array) -> None:
    """float32 inputs give float32 results and float32 gradients of the inputs' shapes.

    Raises: CheckError if they do not
    """
    inputs = [
        Tensor(array.astype(np.float32), requires_grad=True) if array.dtype.kind == "f" else Tensor(array)
        for array in arrays
    ]
    for result in _each(op(*inputs)):
        if not isinstance(result.data, np.ndarray):
            raise CheckError(f"dtype: a Tensor holds an array; got {type(result.data).__name__}; use numpy.asarray")
        if result.dtype.kind == "f" and result.dtype != np.float32:
            raise CheckError(f"dtype: float32 inputs must give float32; got {result.dtype}; does a constant promote?")
        if result.requires_grad:
            result.backward(np.ones(result.shape, np.float32))
    for i, one in enumerate(inputs):
        if one.grad is not None and (one.grad.dtype != np.float32 or one.grad.shape != one.shape):
            raise CheckError(
                f"dtype: the gradient of input {i} must be float32 {one.shape}; got {one.grad.dtype} {one.grad.shape}"
            )


def check_layout(op: Op, *arrays: Array) -> None:
    """Arrays that are not contiguous in memory give the values and gradients of their contiguous copies.

    Tried: every second element of a larger array, and the reversed view of a reversed copy.

    Raises: CheckError if they differ
    """
    results, gradients = _values_and_gradients(op, arrays)
    for name, view in (("strided", _strided), ("reversed", _reversed)):
        again, gradients_again = _values_and_gradients(op, [view(array) for array in arrays])
        for one, other in zip([*results, *gradients], [*again, *gradients_again], strict=True):
            _expect_equal(f"{name} memory", other, one, 1e-12, 1e-13)


def check_broadcasting(op: Op, *arrays: Array) -> None:
    """`op` of arrays equals `op` of the same arrays broadcast to one shape, and so do the sums of the gradients.

    Raises: CheckError if they differ
    """
    shape = np.broadcast_shapes(*(array.shape for array in arrays))
    results, gradients = _values_and_gradients(op, arrays)
    full = [np.array(np.broadcast_to(array, shape)) for array in arrays]
    full_results, full_gradients = _values_and_gradients(op, full)
    for one, other in zip(results, full_results, strict=True):
        _expect_equal("broadcasting: value", one, other, 1e-13, 1e-14)
    floats = [array for array in arrays if array.dtype.kind == "f"]
    for array, one, other in zip(floats, gradients, full_gradients, strict=True):
        added = len(shape) - array.ndim
        stretched = tuple(added + i for i, size in enumerate(array.shape) if size == 1)
        summed = other.sum(axis=(*range(added), *stretched), keepdims=True).reshape(array.shape)
        _expect_equal("broadcasting: gradient", one, summed, 1e-12, 1e-13)


def check_error(op: Op, *arguments: Any, error: type[Exception] = TinygradLLMError, says: str = "") -> None:
    """`op(*arguments)` raises `error` with a message that contains `says`.

    Raises: CheckError if it raises another error, or none
    """
    try:
        op(*arguments)
    except error as raised:
        if says not in str(raised):
            raise CheckError(f"error: the message must contain {says!r}; got {str(raised)!r}") from None
        return
    except Exception as raised:
        raise CheckError(f"error: {error.__name__} must be raised; got {type(raised).__name__}: {raised}") from None
    raise CheckError(f"error: {error.__name__} must be raised; nothing was")


def _each(result: Any) -> Sequence[Any]:
    return result if isinstance(result, list | tuple) else (result,)


def _expect_equal(what: str, got: Any, expected: Array, rtol: float, atol: float) -> None:
    try:
        np.testing.assert_allclose(got, expected, rtol=rtol, atol=atol, strict=True)
    except AssertionError as error:
        raise CheckError(f"{what}: {str(error).strip()}") from None


def _values_and_gradients(op: Op, arrays: Sequence[Array]) -> tuple[list[Array], list[Array]]:
    """The results, and the gradients of Σ weights ⊙ results; the weights differ, so that no two elements look alike."""
    inputs = [Tensor(array, requires_grad=array.dtype.kind == "f") for array in arrays]
    results = _each(op(*inputs))
    for result in results:
        if result.requires_grad:
            weights = 1 + np.arange(result.data.size, dtype=result.dtype).reshape(result.shape) / 7
            result.backward(weights)
    wanted = [one for one in inputs if one.requires_grad]
    gradients = [np.zeros(one.shape, one.dtype) if one.grad is None else one.grad for one in wanted]
    return [np.asarray(result.data) for result in results], gradients


def _strided(array: Array) -> Array:
    wide = np.zeros(tuple(2 * size for size in array.shape), array.dtype)
    every_second: Any = (..., *[slice(None, None, 2)] * array.ndim)
    view = wide[every_second]
    view[...] = array
    return view


def _reversed(array: Array) -> Array:
    from_the_end: Any = (..., *[slice(None, None, -1)] * array.ndim)
    return np.array(array[from_the_end])[from_the_end]
