"""The loss of a language model: how surprised it is by the token that came, in nats."""

from __future__ import annotations

from typing import Any

import numpy as np

from tinygrad_llm.errors import ConfigError, ShapeError
from tinygrad_llm.ops.blocks import as_rows, row_blocks
from tinygrad_llm.ops.expect import as_ids, expect_axes, expect_probability, expect_shape
from tinygrad_llm.ops.fusion import fuses
from tinygrad_llm.ops.linear import linear_composed
from tinygrad_llm.ops.softmax import log_softmax_composed
from tinygrad_llm.primitives.operands import as_float
from tinygrad_llm.tensor import Array, Gradients, Tensor, TensorLike, as_tensor, is_grad_enabled, record

IGNORE_INDEX = -100


def cross_entropy_composed(
    logits: TensorLike,
    targets: Any,
    ignore_index: int = IGNORE_INDEX,
    label_smoothing: float = 0.0,
    reduction: str = "mean",
) -> Tensor:
    """The definition: what `cross_entropy` must equal, gradients included."""
    logits = as_float(logits)
    ids = _targets("cross_entropy", logits, targets, ignore_index, label_smoothing, reduction)
    ignored = ids == ignore_index
    rows = logits.reshape(ids.size, logits.shape[-1]).masked_fill(ignored[:, None], 0.0)  # were perhaps infinite or NaN
    log_p = log_softmax_composed(rows)
    expected = log_p[np.arange(ids.size), np.where(ignored, 0, ids)]
    if label_smoothing:
        expected = (1 - label_smoothing) * expected + label_smoothing * log_p.mean(axis=-1)
    losses = (-expected).masked_fill(ignored, 0.0)
    if reduction == "none":
        return losses.reshape(logits.shape[:-1])
    return losses.sum() if reduction == "sum" else losses.sum() / max(int(np.count_nonzero(~ignored)), 1)


@fuses(cross_entropy_composed)
def cross_entropy(
    logits: TensorLike,
    targets: Any,
    ignore_index: int = IGNORE_INDEX,
    label_smoothing: float = 0.0,
    reduction: str = "mean",
) -> Tensor:
    """-ln softmax(logits)[target], averaged over the targets that count. Units: nats per target.

        loss = ln Σ eˣ - x[target],  dx = softmax(x) - onehot(target), for each row

    A target equal to `ignore_index` counts for nothing; where all are ignored, loss and gradient are 0. With
    `label_smoothing` s the target is (1 - s) · onehot + s / V (Szegedy et al. 2015, arXiv:1512.00567).
    `reduction` is "mean" over the targets that count, "sum", or "none": one loss per target.

    Shapes: logits (..., V), targets (...) integers -> () or (...)
    Saves:  logits (..., V), ln Σ eˣ (...)
    Raises: ShapeError if targets are not (...), DTypeError or IdRangeError if they are no classes, ConfigError for an
            unknown reduction or a smoothing that is no probability
    """
    logits = as_float(logits)
    ids = _targets("cross_entropy", logits, targets, ignore_index, label_smoothing, reduction)
    rows = logits.data.reshape(ids.size, logits.shape[-1])
    weights = _target_weights(ids, ignore_index, rows.dtype, reduction)
    losses, log_totals = _losses(rows, ids, ignore_index, label_smoothing)
    shape = logits.shape

    def backward(dy: Array) -> Gradients:
        dx = np.empty_like(rows)
        scale = weights * dy.reshape(-1)  # dy is one number, or one for each target
        for block in row_blocks(*rows.shape):
            np.subtract(rows[block], log_totals[block, None], out=dx[block])
            _probabilities_to_gradient(np.exp(dx[block], out=dx[block]), ids[block], scale[block], label_smoothing)
        return (dx.reshape(shape),)

    losses *= weights
    return record(losses.reshape(shape[:-1]) if reduction == "none" else losses.sum(), (logits,), backward)


def linear_cross_entropy_composed(
    x: TensorLike,
    weight: Tensor,
    targets: Any,
    ignore_index: int = IGNORE_INDEX,
    label_smoothing: float = 0.0,
) -> Tensor:
    """The definition: what `linear_cross_entropy` must equal, gradients included."""
    return cross_entropy_composed(linear_composed(x, weight), targets, ignore_index, label_smoothing)


@fuses(linear_cross_entropy_composed)
def linear_cross_entropy(
    x: TensorLike,
    weight: Tensor,
    targets: Any,
    ignore_index: int = IGNORE_INDEX,
    label_smoothing: float = 0.0,
) -> Tensor:
    """`cross_entropy(linear(x, weight), targets)` with one copy of the (tokens, vocabulary) matrix. Units: nats.

        G = (softmax(x Wᵀ) - onehot(targets)) / count,  dx = dy G W,  dW = dy Gᵀ x

    The logits are needed for nothing but their gradient, so forward turns them into G where they stand; at GPT-2's
    vocabulary this matrix is the largest array of a training step.

    Shapes: x (..., C), weight (V, C), targets (...) integers -> ()
    Saves:  x, G (rows, V)
    Raises: as `linear` and `cross_entropy`
    """
    x, weight = as_float(x), as_tensor(weight)
    expect_axes("linear_cross_entropy", x, 1)
    expect_shape("linear_cross_entropy", x, (*weight.shape[:1], x.shape[-1]), weight=weight)
    shape = x.shape
    rows = as_rows(x.data)
    logits = Tensor(np.empty((*shape[:-1], 0), rows.dtype))
    ids = _targets("linear_cross_entropy", logits, targets, ignore_index, label_smoothing, "mean", len(weight))
    weights = _target_weights(ids, ignore_index, rows.dtype, "mean")
    table = weight.data
    wants_dx, wants_dw = x.requires_grad, weight.requires_grad
    g = rows @ table.T
    losses, log_totals = _losses(g, ids, ignore_index, label_smoothing)
    losses *= weights
    if is_grad_enabled() and (wants_dx or wants_dw):
        for block in row_blocks(*g.shape):
            np.subtract(g[block], log_totals[block, None], out=g[block])
            _probabilities_to_gradient(np.exp(g[block], out=g[block]), ids[block], weights[block], label_smoothing)

    def backward(dy: Array) -> Gradients:
        dx = (dy * (g @ table)).reshape(shape) if wants_dx else None
        dw = g.T @ (dy * rows) if wants_dw else None
        return dx, dw

    return record(losses.sum(), (x, weight), backward)


def _targets(
    op: str, logits: Tensor, targets: Any, ignore_index: int, smoothing: float, reduction: str, classes: int = -1
) -> Array:
    """The targets as a flat array of class ids, every argument of the loss checked."""
    expect_axes(op, logits, 1)
    expect_probability(op, "label_smoothing", smoothing)
    if reduction not in ("mean", "sum", "none"):
        raise ConfigError(f'{op}: reduction must be "mean", "sum" or "none"; got {reduction!r}')
    classes = logits.shape[-1] if classes < 0 else classes
    ids = as_ids(op, targets, classes, ignored=ignore_index)
    if ids.shape != logits.shape[:-1]:
        raise ShapeError(
            f"{op}: targets must be {logits.shape[:-1]}, one class for each row of logits "
            f"(the classes are the last axis); got {ids.shape}"
        )
    if ids.size and not classes:
        raise ShapeError(f"{op}: there must be at least one class; got logits of shape {(*ids.shape, classes)}")
    return ids.reshape(-1).astype(np.intp, copy=False)


def _target_weights(ids: Array, ignore_index: int, dtype: Any, reduction: str) -> Array:
    """What each target contributes to the loss: nothing where ignored, 1 / count in a mean."""
    counted = (ids != ignore_index).astype(dtype)
    if reduction == "mean":
        counted /= max(np.count_nonzero(counted), 1)
    return counted


def _losses(rows: Array, ids: Array, ignore_index: int, smoothing: float) -> tuple[Array, Array]:
    """Each row's loss in nats (0 where ignored), and its ln Σ eˣ."""
    losses, log_totals = np.empty((2, len(rows)), rows.dtype)
    for block in row_blocks(*rows.shape):
        x, of_target = rows[block], ids[block]
        largest = x.max(axis=-1, keepdims=True)
        powers = x - largest
        expected = powers[np.arange(len(x)), np.where(of_target == ignore_index, 0, of_target)]
        if smoothing:
            expected = (1 - smoothing) * expected + smoothing * powers.mean(axis=-1)
        np.exp(powers, out=powers)
        log_total = np.log(np.add.reduce(powers, axis=-1))
        losses[block] = log_total - expected  # both without `largest`, whose digits would cost those of the loss
        log_totals[block] = log_total + largest[:, 0]
    losses[ids == ignore_index] = 0  # not merely weighted by 0: an ignored row may be infinite or NaN
    return losses, log_totals


def _probabilities_to_gradient(p: Array, ids: Array, scale: Array, smoothing: float) -> None:
    """Turn softmax rows p, in place, into scale · (p - target): the gradient of the logits."""
    if smoothing:
        p -= smoothing / p.shape[-1]
    counted = np.flatnonzero(scale)
    p[counted, ids[counted]] -= 1 - smoothing
    p *= scale[:, None]
    if len(counted) < len(scale):
        p[scale == 0] = 0  # an ignored row has no gradient, whatever its logits
