"""Elementwise functions: sine and cosine, squares and roots, logarithms, softplus."""

from __future__ import annotations

import numpy as np

from tinygrad_llm.arrays import Array
from tinygrad_llm.errors import ConfigError
from tinygrad_llm.graph import Gradients, TensorLike, record_operation
from tinygrad_llm.primitives.operands import as_float, as_tensor, operands, unbroadcast, wanted_shape
from tinygrad_llm.tensor import Tensor


def sin(x: TensorLike) -> Tensor:
    """z = sin x;  dx = dz cos x. The sine of ±infinity is NaN.

    Shapes: x (...) -> (...)
    """
    x = as_float(x)
    a = x.data

    def backward(dz: Array) -> Gradients:
        with np.errstate(invalid="ignore"):
            return (dz * np.cos(a),)

    with np.errstate(invalid="ignore"):
        return record_operation(np.sin(a), (x,), backward)


def cos(x: TensorLike) -> Tensor:
    """z = cos x;  dx = -dz sin x. The cosine of ±infinity is NaN.

    Shapes: x (...) -> (...)
    """
    x = as_float(x)
    a = x.data

    def backward(dz: Array) -> Gradients:
        with np.errstate(invalid="ignore"):
            return (-dz * np.sin(a),)

    with np.errstate(invalid="ignore"):
        return record_operation(np.cos(a), (x,), backward)


def square(x: TensorLike) -> Tensor:
    """z = x²;  dx = 2 x dz. Overflow gives infinity.

    Shapes: x (...) -> (...)
    """
    x = as_tensor(x)
    a = x.data

    def backward(dz: Array) -> Gradients:
        with np.errstate(invalid="ignore", over="ignore"):
            return (dz * 2 * a,)

    with np.errstate(over="ignore"):
        return record_operation(a * a, (x,), backward)


def rsqrt(x: TensorLike) -> Tensor:
    """z = 1/√x;  dx = -½ dz z³. At 0 the value is infinity and the slope -infinity; below 0 both are NaN.

    Shapes: x (...) -> (...)
    """
    x = as_float(x)
    with np.errstate(divide="ignore", invalid="ignore"):
        z = np.asarray(1 / np.sqrt(x.data))

    def backward(dz: Array) -> Gradients:
        with np.errstate(over="ignore", invalid="ignore"):
            return (dz * -0.5 * z * z * z,)

    return record_operation(z, (x,), backward)


def log1p(x: TensorLike) -> Tensor:
    """z = ln(1 + x), exact also where x is tiny;  dx = dz / (1 + x). At -1 it is -infinity, below NaN.

    Shapes: x (...) -> (...)
    """
    x = as_float(x)
    a = x.data

    def backward(dz: Array) -> Gradients:
        with np.errstate(divide="ignore", invalid="ignore"):
            return (dz / (1 + a),)

    with np.errstate(divide="ignore", invalid="ignore"):
        return record_operation(np.log1p(a), (x,), backward)


def expm1(x: TensorLike) -> Tensor:
    """z = eˣ - 1, exact also where x is tiny;  dx = dz (z + 1). Overflow gives infinity.

    Shapes: x (...) -> (...)
    """
    x = as_float(x)
    with np.errstate(over="ignore"):
        z = np.asarray(np.expm1(x.data))

    def backward(dz: Array) -> Gradients:
        with np.errstate(invalid="ignore"):
            return (dz * (z + 1),)

    return record_operation(z, (x,), backward)


def softplus(x: TensorLike, beta: float = 1.0, threshold: float = 20.0) -> Tensor:
    """z = ln(1 + e^(βx)) / β, a smooth relu (Dugas et al. 2001);  dx = dz σ(βx).

    Where βx exceeds `threshold` the value is x itself and the slope 1, as in PyTorch.

    Shapes: x (...) -> (...)
    Raises: ConfigError if beta is not above 0
    """
    if not beta > 0:
        raise ConfigError(f"softplus: beta must be above 0; got {beta}")
    x = as_float(x)
    a = x.data
    linear = a * beta > threshold
    z = np.where(linear, a, _softplus(np.where(linear, 0, a) * beta) / beta).astype(x.dtype, copy=False)

    def backward(dz: Array) -> Gradients:
        return (np.where(linear, dz, dz * _sigmoid(a * beta)),)

    return record_operation(z, (x,), backward)


def logsigmoid(x: TensorLike) -> Tensor:
    """z = ln σ(x) = -softplus(-x), without overflow at either end;  dx = dz σ(-x).

    Shapes: x (...) -> (...)
    """
    x = as_float(x)
    a = x.data

    def backward(dz: Array) -> Gradients:
        return (dz * _sigmoid(-a),)

    return record_operation(-_softplus(-a), (x,), backward)


def logaddexp(x: TensorLike, y: TensorLike) -> Tensor:
    """z = ln(eˣ + eʸ), without overflow;  dx = dz σ(x - y), dy = dz σ(y - x).

    Shapes: x (...), y (...) -> (...), broadcast
    Raises: ShapeError if the shapes do not broadcast
    """
    x, y = operands("logaddexp", x, y, to_float=True)
    a, b = x.data, y.data
    x_shape, y_shape = wanted_shape(x), wanted_shape(y)

    def backward(dz: Array) -> Gradients:
        with np.errstate(invalid="ignore"):
            return (
                None if x_shape is None else unbroadcast(dz * _sigmoid(a - b), x_shape),
                None if y_shape is None else unbroadcast(dz * _sigmoid(b - a), y_shape),
            )

    with np.errstate(invalid="ignore"):
        return record_operation(np.logaddexp(a, b), (x, y), backward)


def _softplus(a: Array) -> Array:
    """ln(1 + eᵃ) = max(a, 0) + ln(1 + e^-|a|): the exponential never exceeds 1."""
    return np.asarray(np.maximum(a, 0) + np.log1p(np.exp(-np.abs(a))))


def _sigmoid(a: Array) -> Array:
    with np.errstate(over="ignore"):
        return np.asarray(1 / (1 + np.exp(-a)))
