"""The global norm of the gradients, and clipping by it (Pascanu et al. 2013, arXiv:1211.5063)."""

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np

from tinygrad_llm import optim
from tinygrad_llm.arrays import Array
from tinygrad_llm.checks import expect_number
from tinygrad_llm.errors import AnomalyError, ConfigError
from tinygrad_llm.optim.blocks import BLOCK
from tinygrad_llm.tensor import Tensor


def grad_norm(parameters: Iterable[Tensor] | Tensor) -> float:
    """The Euclidean norm of all gradients together, as if they were one long vector: √(Σ g²).

    Parameters without a gradient count as zero, a Tensor listed twice counts once. NaN or infinity in a gradient
    gives NaN or infinity.

    Raises: ConfigError for what is not a Tensor.
    """
    return _norm(_gradients("grad_norm", parameters))


def clip_grad_norm_(
    parameters: Iterable[Tensor] | Tensor, max_norm: float, norm_type: float = 2.0, error_if_nonfinite: bool = False
) -> float:
    """Scale all gradients in place so that their global norm is at most `max_norm`; return the norm before.

        g ← g · min(1, max_norm / (norm + 1e-6))

    One factor for all keeps the direction of the step. The norm is (Σ |g|ᵖ)^(1/p) with p = `norm_type`, infinity for
    the largest magnitude. Where it is NaN or infinite no factor helps: the gradients stay as they are, and the caller
    decides what to do about the number returned, or gets an AnomalyError with `error_if_nonfinite`.

    >>> from tinygrad_llm import Tensor
    >>> weight = Tensor([[0.0, 0.0], [0.0, 0.0]], requires_grad=True)
    >>> weight.backward([[1.0, 2.0], [2.0, 4.0]])
    >>> clip_grad_norm_([weight], max_norm=1.0)
    5.0
    >>> weight.grad.round(4)
    array([[0.2, 0.4],
           [0.4, 0.8]], dtype=float32)

    Raises: ConfigError for what is not a Tensor, and for a `max_norm` that is negative or NaN.
    """
    if max_norm != math.inf:  # infinity is allowed: it only measures
        expect_number("clip_grad_norm_", "max_norm", max_norm)
    gradients = _gradients("clip_grad_norm_", parameters)
    norm = _norm(gradients) if norm_type == 2 else optim.norms.p_norm(gradients, norm_type)
    if error_if_nonfinite and not math.isfinite(norm):
        raise AnomalyError(f"clip_grad_norm_: the norm of the gradients must be finite; got {norm}")
    factor = float(max_norm) / (norm + 1e-6)
    if math.isfinite(norm) and factor < 1.0:
        for gradient in gradients:
            gradient *= factor
    return norm


def _gradients(name: str, parameters: Iterable[Tensor] | Tensor) -> list[Array]:
    tensors = [parameters] if isinstance(parameters, Tensor) else list(parameters)
    for tensor in tensors:
        if not isinstance(tensor, Tensor):
            raise ConfigError(f"{name}: parameters must be Tensors; got {type(tensor).__name__}")
    return [tensor.grad for tensor in dict.fromkeys(tensors) if tensor.grad is not None]


def _norm(gradients: list[Array]) -> float:
    # BLAS's dot is one pass without a temporary. It adds up in the arrays' own precision, which loses four digits over
    # millions of float32 squares, so it gets pieces, and Python adds these up in float64.
    with np.errstate(over="ignore", under="ignore", invalid="ignore"):
        total = sum(sum_of_squares(gradient) for gradient in gradients)
    return math.sqrt(total) if 1e-30 < total < math.inf else optim.norms.norm_of_extremes(gradients)


def sum_of_squares(gradient: Array) -> float:
    flat = gradient.ravel(order="K")  # in the order of memory, a view for any dense layout
    pieces = (flat[start : start + BLOCK] for start in range(0, flat.size, BLOCK))
    return sum([float(np.dot(piece, piece)) for piece in pieces])
