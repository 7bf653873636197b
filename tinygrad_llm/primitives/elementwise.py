"""Functions of one number, applied to each element."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from tinygrad_llm import buffers, primitives
from tinygrad_llm.arrays import Array
from tinygrad_llm.graph import Gradients, record_operation
from tinygrad_llm.primitives.operands import as_float
from tinygrad_llm.variable import Variable

if TYPE_CHECKING:
    from tinygrad_llm.tensor import Tensor


class Elementwise(Variable):
    """exp, log, sqrt, tanh, sigmoid, relu, abs, erf."""

    __slots__ = ()

    def exp(self) -> Tensor:
        """z = eˣ;  dx = dz ⊙ z. Overflow gives infinity."""
        x = as_float(self)
        with np.errstate(all="ignore"):
            z = np.asarray(np.exp(x.data))

        def backward(dz: Array) -> Gradients:
            return (dz * z,)

        return record_operation(z, (x,), backward)

    def log(self) -> Tensor:
        """z = ln x;  dx = dz / x. The logarithm of 0 is -infinity, of a negative number NaN."""
        x = as_float(self)
        a = x.data

        def backward(dz: Array) -> Gradients:
            return (dz / a,)

        with np.errstate(all="ignore"):
            return record_operation(np.log(a), (x,), backward)

    def sqrt(self) -> Tensor:
        """z = √x;  dx = dz / 2z: infinite at 0, NaN below."""
        x = as_float(self)
        with np.errstate(all="ignore"):
            z = np.asarray(np.sqrt(x.data))

        def backward(dz: Array) -> Gradients:
            return (dz * 0.5 / z,)

        return record_operation(z, (x,), backward)

    def tanh(self) -> Tensor:
        """z = tanh x;  dx = dz (1 - z²)."""
        x = as_float(self)
        z = np.asarray(np.tanh(x.data))

        def backward(dz: Array) -> Gradients:
            return (dz * (1 - z * z),)

        return record_operation(z, (x,), backward)

    def sigmoid(self) -> Tensor:
        """z = 1 / (1 + e⁻ˣ);  dx = dz z (1 - z)."""
        x = as_float(self)
        with np.errstate(all="ignore"):  # e⁻ˣ may become infinite, and 1 / inf is the right 0
            z = np.asarray(1 / (1 + np.exp(-x.data)))

        def backward(dz: Array) -> Gradients:
            return (dz * z * (1 - z),)

        return record_operation(z, (x,), backward)

    def relu(self) -> Tensor:
        """z = max(x, 0);  dx = 0 where x ≤ 0, else dz. NaN stays NaN and passes its gradient on, as in PyTorch."""
        passed = ~(self.data <= 0)

        def backward(dz: Array) -> Gradients:
            return (buffers.select(passed, dz),)  # a product would make NaN of 0 · inf

        return record_operation(np.maximum(self.data, 0), (self,), backward)

    def abs(self) -> Tensor:
        """z = |x|;  dx = dz where x > 0, -dz where x < 0, 0 where x = 0.

        NaN passes its gradient on; PyTorch stops it there, and makes 0 · inf = NaN where x = 0 meets an infinite dz.
        """
        negative, zero = self.data < 0, self.data == 0

        def backward(dz: Array) -> Gradients:
            return (np.where(zero, 0, np.where(negative, -dz, dz)),)

        return record_operation(np.abs(self.data), (self,), backward)

    __abs__ = abs

    def erf(self) -> Tensor:
        """z = 2/√π ∫₀ˣ exp(-t²) dt;  dx = dz 2/√π exp(-x²)."""
        x = as_float(self)
        a = x.data

        def backward(dz: Array) -> Gradients:
            return (dz * primitives.error_function.erf_derivative(a),)

        return record_operation(primitives.error_function.erf(a), (x,), backward)
