"""Functions of one number, applied to each element."""

from __future__ import annotations

import numpy as np

from tinygrad_llm.primitives.error_function import erf as erf_values
from tinygrad_llm.primitives.error_function import erf_derivative as erf_slope
from tinygrad_llm.primitives.operands import as_float
from tinygrad_llm.tensor import Array, Gradients, Tensor, TensorLike, as_tensor, record, tensor_method


@tensor_method("exp")
def exp(x: TensorLike) -> Tensor:
    """z = eˣ;  dx = dz ⊙ z. Overflow gives infinity."""
    x = as_float(x)
    with np.errstate(over="ignore"):
        z = np.asarray(np.exp(x.data))

    def backward(dz: Array) -> Gradients:
        return (dz * z,)

    return record(z, (x,), backward)


@tensor_method("log")
def log(x: TensorLike) -> Tensor:
    """z = ln x;  dx = dz / x. The logarithm of 0 is -infinity, of a negative number NaN."""
    x = as_float(x)
    a = x.data

    def backward(dz: Array) -> Gradients:
        with np.errstate(divide="ignore", invalid="ignore"):
            return (dz / a,)

    with np.errstate(divide="ignore", invalid="ignore"):
        return record(np.log(a), (x,), backward)


@tensor_method("sqrt")
def sqrt(x: TensorLike) -> Tensor:
    """z = √x;  dx = dz / 2z: infinite at 0, NaN below."""
    x = as_float(x)
    with np.errstate(invalid="ignore"):
        z = np.asarray(np.sqrt(x.data))

    def backward(dz: Array) -> Gradients:
        with np.errstate(divide="ignore", invalid="ignore"):
            return (dz * 0.5 / z,)

    return record(z, (x,), backward)


@tensor_method("tanh")
def tanh(x: TensorLike) -> Tensor:
    """z = tanh x;  dx = dz (1 - z²)."""
    x = as_float(x)
    z = np.asarray(np.tanh(x.data))

    def backward(dz: Array) -> Gradients:
        return (dz * (1 - z * z),)

    return record(z, (x,), backward)


@tensor_method("sigmoid")
def sigmoid(x: TensorLike) -> Tensor:
    """z = 1 / (1 + e⁻ˣ);  dx = dz z (1 - z)."""
    x = as_float(x)
    with np.errstate(over="ignore"):  # e⁻ˣ may become infinite, and 1 / inf is the right 0
        z = np.asarray(1 / (1 + np.exp(-x.data)))

    def backward(dz: Array) -> Gradients:
        return (dz * z * (1 - z),)

    return record(z, (x,), backward)


@tensor_method("relu")
def relu(x: TensorLike) -> Tensor:
    """z = max(x, 0);  dx = dz where x > 0, else 0."""
    x = as_tensor(x)
    positive = x.data > 0

    def backward(dz: Array) -> Gradients:
        return (dz * positive,)

    return record(np.maximum(x.data, 0), (x,), backward)


@tensor_method("abs", "__abs__")
def abs(x: TensorLike) -> Tensor:
    """z = |x|;  dx = dz sign(x), which is 0 at 0."""
    x = as_tensor(x)
    sign = np.sign(x.data)

    def backward(dz: Array) -> Gradients:
        return (dz * sign,)

    return record(np.abs(x.data), (x,), backward)


@tensor_method("erf")
def erf(x: TensorLike) -> Tensor:
    """z = 2/√π ∫₀ˣ exp(-t²) dt;  dx = dz 2/√π exp(-x²)."""
    x = as_float(x)
    a = x.data

    def backward(dz: Array) -> Gradients:
        return (dz * erf_slope(a),)

    return record(erf_values(a), (x,), backward)
