"""Cross-entropy, the loss of a language model: the negative log-probability of the next token, in nats."""

from __future__ import annotations

from typing import Any

import numpy as np

from tinygrad_llm import buffers
from tinygrad_llm.arrays import Array
from tinygrad_llm.checks import expect_axes, expect_choice, expect_ids, expect_probability, expect_shape
from tinygrad_llm.errors import ShapeError
from tinygrad_llm.graph import Gradients, TensorLike, is_grad_enabled, record_operation
from tinygrad_llm.ops.dispatch import fuses
from tinygrad_llm.ops.linear import linear_composed
from tinygrad_llm.ops.row_blocks import as_rows, row_blocks
from tinygrad_llm.ops.softmax import log_softmax_composed
from tinygrad_llm.primitives.operands import as_float, as_tensor
from tinygrad_llm.tensor import Tensor

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
    rows = logits.reshape(ids.size, logits.shape[-1]).masked_fill(ignored[:, None], 0.0)  # they may be infinite or NaN
    log_p = log_softmax_composed(rows)
    expected = log_p[np.arange(ids.size), np.where(ignored, 0, ids)]
    if label_smoothing:
        expected = (1 - label_smoothing) * expected + label_smoothing * log_p.mean(axis=1)
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
    """-ln softmax(logits)[target], averaged over the targets that are not ignored. Units: nats per target.

        loss = ln Σ eˣ - x[target],  dx = softmax(x) - onehot(target), for each row

    A target equal to `ignore_index` adds nothing; if all are ignored, loss and gradient are 0. With
    `label_smoothing` s the target is (1 - s) · onehot + s / V (Szegedy et al. 2015, arXiv:1512.00567).
    `reduction` is "mean" over the other targets, "sum", or "none": one loss per target.

    Shapes: logits (..., V), targets (...) integers -> () or (...)
    Saves:  logits (..., V), and for each row the maximum and Σ e^(x - maximum), apart: their sum would be rounded
    Raises: ShapeError if targets are not (...), DTypeError or IdRangeError if they are no classes, ConfigError for an
            unknown reduction or a smoothing that is no probability
    """
    logits = as_float(logits)
    ids = _targets("cross_entropy", logits, targets, ignore_index, label_smoothing, reduction)
    rows = logits.data.reshape(ids.size, logits.shape[-1])
    weights = _target_weights(ids, ignore_index, rows.dtype, reduction)
    losses, largest, totals = np.empty((3, len(rows)), rows.dtype)
    for block in row_blocks(*rows.shape):
        largest[block] = rows[block].max(axis=1)
        x = rows[block] - largest[block, None]
        losses[block], totals[block] = _losses(x, ids[block], ignore_index, label_smoothing)
    shape = logits.shape

    def backward(dy: Array) -> Gradients:
        dx = buffers.empty_like(rows)
        scale = weights * dy.reshape(-1)  # dy (), or one number per target
        for block in row_blocks(*rows.shape):
            p = np.subtract(rows[block], largest[block, None], out=dx[block])
            np.exp(p, out=p)
            _exponentials_to_gradient(p, scale[block] / totals[block], ids[block], scale[block], label_smoothing)
        return (dx.reshape(shape),)

    losses *= weights
    return record_operation(losses.reshape(shape[:-1]) if reduction == "none" else losses.sum(), (logits,), backward)


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

    Backward needs only the gradient of the logits, so forward turns them into G in place; with GPT-2's
    vocabulary, this matrix is the largest array of a training step.

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
    g = buffers.matmul(rows, table.T)
    losses = np.empty(len(g), g.dtype)
    going_back = is_grad_enabled() and (wants_dx or wants_dw)
    for block in row_blocks(*g.shape):
        part = g[block]
        part -= part.max(axis=1, keepdims=True)
        losses[block], totals = _losses(part, ids[block], ignore_index, label_smoothing)
        if going_back:
            _exponentials_to_gradient(part, weights[block] / totals, ids[block], weights[block], label_smoothing)
    losses *= weights

    def backward(dy: Array) -> Gradients:
        dw = weight.gradient_of_product(g, dy * rows) if wants_dw else None
        dx = buffers.matmul(g, table) if wants_dx else None
        return None if dx is None else np.multiply(dx, dy, out=dx).reshape(shape), dw

    return record_operation(losses.sum(), (x, weight), backward)


def _targets(
    op: str, logits: Tensor, targets: Any, ignore_index: int, smoothing: float, reduction: str, classes: int = -1
) -> Array:
    """The targets as a flat array of class ids, every argument of the loss checked."""
    expect_axes(op, logits, 1)
    expect_probability(op, "label_smoothing", smoothing)
    expect_choice(op, "reduction", reduction, ("mean", "sum", "none"))
    classes = logits.shape[-1] if classes < 0 else classes
    ids = expect_ids(op, targets, classes, ignored=ignore_index)
    if ids.shape != logits.shape[:-1]:
        raise ShapeError(
            f"{op}: targets must be {logits.shape[:-1]}, one class for each row of logits "
            f"(the classes are the last axis); got {ids.shape}"
        )
    if ids.size and not classes:
        raise ShapeError(f"{op}: there must be at least one class; got logits of shape {(*ids.shape, classes)}")
    return ids.reshape(-1).astype(np.intp)  # a copy, which backward reads


def _target_weights(ids: Array, ignore_index: int, dtype: Any, reduction: str) -> Array:
    """The weight of each target in the loss: 0 if ignored, else 1, or 1 / count for a mean."""
    counted = (ids != ignore_index).astype(dtype)
    if reduction == "mean":
        counted /= max(np.count_nonzero(counted), 1)
    return counted


def _losses(x: Array, ids: Array, ignore_index: int, smoothing: float) -> tuple[Array, Array]:
    """The loss of each row in nats, 0 if ignored, and its Σ eˣ; x, already less the row's maximum, becomes eˣ."""
    expected = x[np.arange(len(x)), np.where(ids == ignore_index, 0, ids)]
    if smoothing:
        expected = (1 - smoothing) * expected + smoothing * x.mean(axis=1)
    totals = np.add.reduce(np.exp(x, out=x), axis=1)
    losses = np.log(totals) - expected  # the maximum is in neither, since adding it would round the loss
    losses[ids == ignore_index] = 0  # assigned, not multiplied by 0: an ignored row may be infinite or NaN
    return losses, totals


def _exponentials_to_gradient(powers: Array, factor: Array, ids: Array, scale: Array, smoothing: float) -> None:
    """Turn rows of eˣ, which `factor` makes scale · softmax(x), into scale · (softmax(x) - target), in place."""
    powers *= factor[:, None]
    if smoothing:
        powers -= (scale * (smoothing / powers.shape[1]))[:, None]
    counted = np.flatnonzero(scale)
    powers[counted, ids[counted]] -= (1 - smoothing) * scale[counted]
    if len(counted) < len(scale):
        powers[scale == 0] = 0  # an ignored row has no gradient, whatever its logits
