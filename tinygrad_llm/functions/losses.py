"""Losses beyond a GPT's: cross-entropy with class weights or soft targets, squared error, KL divergence, binary."""

from __future__ import annotations

from typing import Any

import numpy as np

from tinygrad_llm import ops
from tinygrad_llm.arrays import Array
from tinygrad_llm.errors import AnomalyError, ConfigError, DTypeError, IdRangeError, ShapeError
from tinygrad_llm.graph import Gradients, TensorLike, record_operation
from tinygrad_llm.primitives.operands import as_float, as_tensor, operands, unbroadcast, wanted_shape
from tinygrad_llm.tensor import Tensor

IGNORE_INDEX = -100


def cross_entropy(
    logits: TensorLike,
    targets: TensorLike,
    weight: TensorLike | None = None,
    ignore_index: int = IGNORE_INDEX,
    label_smoothing: float = 0.0,
    reduction: str = "mean",
) -> Tensor:
    """-Σ q ln softmax(logits), with class weights, for targets that are classes or probabilities. Units: nats.

        loss = -Σ_v w_v q_v ln p_v,  dx = p Σ_v w_v q_v - w ⊙ q,  dq = -w ⊙ ln p

    Classes are integers, and q is 1 at the class; without `weight` this is the core's `cross_entropy`. Probabilities q
    are floats of the shape of logits. `label_smoothing` s makes q into (1 - s) q + s / V. The "mean" of classes
    divides by the sum of their weights, of probabilities by the number of rows, as in PyTorch. A class of
    target probability 0 adds 0 even if its ln p is -infinity.

    Shapes: logits (..., V), targets (...) integers or (..., V) floats, weight (V,) -> () or (...)
    Saves:  softmax(logits) and w ⊙ q (rows, V)
    Raises: ShapeError if shapes do not fit; IdRangeError for a class outside [0, V); ConfigError for an unknown
            reduction, a smoothing that is no probability, or `ignore_index` with probabilities
    """
    targets = as_tensor(targets)
    by_class = targets.dtype.kind in "biu" or (not targets.size and targets.shape != as_tensor(logits).shape)
    if by_class and weight is None:
        return ops.cross_entropy(logits, targets, ignore_index, label_smoothing, reduction)
    _expect_reduction("cross_entropy", reduction, "mean", "sum", "none")
    if not 0 <= label_smoothing <= 1:
        raise ConfigError(f"cross_entropy: label_smoothing must be in [0, 1]; got {label_smoothing}")
    logits = as_float(logits)
    if not logits.ndim:
        raise ShapeError("cross_entropy: logits must have at least one axis, the classes; got shape ()")
    classes, shape = logits.shape[-1], logits.shape
    rows = logits.data.reshape(-1, classes)
    w = _class_weights("cross_entropy", weight, classes, rows.dtype)
    if by_class:
        ids = _classes("cross_entropy", targets, shape, ignore_index)
        counted = ids != ignore_index
        q = np.zeros_like(rows)
        q[np.flatnonzero(counted), ids[counted]] = 1 - label_smoothing
        q[counted] += label_smoothing / max(classes, 1)
        total = w[ids[counted]].sum()
    else:
        if ignore_index != IGNORE_INDEX:
            raise ConfigError("cross_entropy: ignore_index is for targets that are classes; got probabilities")
        if targets.shape != shape:
            raise ShapeError(f"cross_entropy: probabilities must have the shape of logits {shape}; got {targets.shape}")
        q = targets.data.astype(rows.dtype, copy=False).reshape(rows.shape)
        q = (1 - label_smoothing) * q + label_smoothing / max(classes, 1)
        total = np.asarray(len(rows), rows.dtype)
    weighted = w * q
    log_p = rows - rows.max(axis=1, keepdims=True, initial=-np.inf)
    with np.errstate(divide="ignore"):
        log_p -= np.log(np.exp(log_p).sum(axis=1, keepdims=True))
    with np.errstate(invalid="ignore", divide="ignore"):
        losses = -np.where(weighted == 0, 0, weighted * log_p).sum(axis=1)
        scale = 1 / total if reduction == "mean" else np.ones((), rows.dtype)
        value = losses.reshape(shape[:-1]) if reduction == "none" else losses.sum() * scale
    wants_dq = not by_class and targets.requires_grad

    def backward(dz: Array) -> Gradients:
        with np.errstate(invalid="ignore"):
            per_row = (dz * scale).reshape(-1, 1)
            dx = np.exp(log_p) * weighted.sum(axis=1, keepdims=True) - weighted
            dx = np.where(weighted.any(axis=1, keepdims=True), dx * per_row, 0).reshape(shape)
            dq = (-w * (1 - label_smoothing) * log_p * per_row).reshape(shape) if wants_dq else None
        return (dx,) if by_class else (dx, dq)

    return record_operation(np.asarray(value), (logits,) if by_class else (logits, targets), backward)


def nll_loss(
    log_probabilities: TensorLike,
    targets: TensorLike,
    weight: TensorLike | None = None,
    ignore_index: int = IGNORE_INDEX,
    reduction: str = "mean",
) -> Tensor:
    """Negative log-likelihood -w[t] ln p[t] of each row's class t; on `log_softmax` it is cross-entropy. Units: nats.

        dx[t] = -w[t] dz;  the mean divides by the sum of the weights of the classes that are not ignored

    Shapes: log_probabilities (..., V), targets (...) integers, weight (V,) -> () or (...)
    Raises: as `cross_entropy`
    """
    _expect_reduction("nll_loss", reduction, "mean", "sum", "none")
    x = as_float(log_probabilities)
    if not x.ndim:
        raise ShapeError("nll_loss: log_probabilities must have at least one axis, the classes; got shape ()")
    shape, classes = x.shape, x.shape[-1]
    ids = _classes("nll_loss", as_tensor(targets), shape, ignore_index)
    w = _class_weights("nll_loss", weight, classes, x.dtype)
    rows = np.flatnonzero(ids != ignore_index)
    columns = ids[rows]
    factors = w[columns]
    with np.errstate(invalid="ignore", divide="ignore"):
        if reduction == "mean":
            factors = factors / factors.sum()
        losses = np.zeros(len(ids), x.dtype)
        losses[rows] = -factors * x.data.reshape(-1, classes)[rows, columns]
    value = losses.reshape(shape[:-1]) if reduction == "none" else losses.sum()
    if reduction == "mean" and not len(rows):
        value = np.asarray(np.nan, x.dtype)  # the mean of nothing

    def backward(dz: Array) -> Gradients:
        dx = np.zeros((len(ids), classes), dz.dtype)
        dx[rows, columns] = -factors * (dz.reshape(-1)[rows] if reduction == "none" else dz)
        return (dx.reshape(shape),)

    return record_operation(np.asarray(value), (x,), backward)


def mse_loss(x: TensorLike, y: TensorLike, reduction: str = "mean") -> Tensor:
    """(x - y)², averaged over all elements;  dx = 2 (x - y) dz, dy = -dx.

    Shapes: x (...), y (...) -> () or their shape, broadcast
    Saves:  x - y
    Raises: ShapeError if the shapes do not broadcast, ConfigError for an unknown reduction
    """
    _expect_reduction("mse_loss", reduction, "mean", "sum", "none")
    x, y = operands("mse_loss", x, y, to_float=True)
    with np.errstate(invalid="ignore", over="ignore"):
        difference = np.asarray(x.data - y.data)
        value, scale = _reduced(difference * difference, reduction)
    x_shape, y_shape = wanted_shape(x), wanted_shape(y)

    def backward(dz: Array) -> Gradients:
        with np.errstate(invalid="ignore", over="ignore"):
            dx = 2 * difference * (dz * scale)
        return (
            None if x_shape is None else unbroadcast(dx, x_shape),
            None if y_shape is None else unbroadcast(-dx, y_shape),
        )

    return record_operation(value, (x, y), backward)


def kl_div(log_q: TensorLike, p: TensorLike, reduction: str = "mean", log_target: bool = False) -> Tensor:
    """p (ln p - ln q), the Kullback-Leibler divergence of q from p, term by term. Units: nats.

        d ln q = -p dz,  dp = (ln p + 1 - ln q) dz

    As in PyTorch, the first argument is ln q, and with `log_target` the second is ln p. "mean" divides by the number of
    elements, "batchmean" by the length of the first axis, which is the divergence of distributions in the last one. A
    term of probability 0 is 0.

    Shapes: log_q (...), p (...) -> () or their shape, broadcast
    Raises: ShapeError if the shapes do not broadcast, ConfigError for an unknown reduction
    """
    _expect_reduction("kl_div", reduction, "mean", "batchmean", "sum", "none")
    log_q, p = operands("kl_div", log_q, p, to_float=True)
    a, b = log_q.data, p.data
    q_shape, p_shape = wanted_shape(log_q), wanted_shape(p)
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        probability, log_p = (np.exp(b), b) if log_target else (b, np.log(b))
        terms = np.where(probability == 0, 0, probability * (log_p - a))
        value, scale = _reduced(terms, "sum" if reduction == "batchmean" else reduction)
        if reduction == "batchmean":
            scale = np.asarray(1 / (terms.shape[0] if terms.ndim else 1), terms.dtype)
            value = np.asarray(value * scale)

    def backward(dz: Array) -> Gradients:
        dz = dz * scale
        dp = None
        with np.errstate(invalid="ignore"):
            if p_shape is not None:
                slope = log_p - a + 1
                if log_target:
                    slope = np.where(probability == 0, 0, probability * slope)
                dp = unbroadcast(dz * slope, p_shape)
            return None if q_shape is None else unbroadcast(-probability * dz, q_shape), dp

    return record_operation(value, (log_q, p), backward)


def binary_cross_entropy(
    p: TensorLike, target: TensorLike, weight: TensorLike | None = None, reduction: str = "mean"
) -> Tensor:
    """-(y ln p + (1 - y) ln(1 - p)), for probabilities p; `binary_cross_entropy_with_logits` is exact. Units: nats.

        dp = (p - y) / (p (1 - p)) dz,  dy = (ln(1 - p) - ln p) dz

    As in PyTorch, no logarithm is taken below -100, and p (1 - p) not below 1e-12.

    Shapes: p (...), target (...), weight (...) -> () or their shape, broadcast
    Raises: ShapeError if the shapes do not broadcast; AnomalyError if p is outside [0, 1]; ConfigError for an unknown
            reduction
    """
    _expect_reduction("binary_cross_entropy", reduction, "mean", "sum", "none")
    p, target = operands("binary_cross_entropy", p, target, to_float=True)
    a, y = p.data, target.data
    if not np.all((a >= 0) & (a <= 1)):
        raise AnomalyError("binary_cross_entropy: p must be probabilities in [0, 1]; got others; apply sigmoid first")
    with np.errstate(divide="ignore"):
        log_p, log_not_p = np.maximum(np.log(a), -100), np.maximum(np.log1p(-a), -100)
    terms = -(y * log_p + (1 - y) * log_not_p)
    value, scale = _weighted("binary_cross_entropy", terms, weight, reduction)
    p_shape, y_shape = wanted_shape(p), wanted_shape(target)

    def backward(dz: Array) -> Gradients:
        dz = dz * scale
        return (
            None if p_shape is None else unbroadcast(dz * (a - y) / np.maximum(a * (1 - a), 1e-12), p_shape),
            None if y_shape is None else unbroadcast(dz * (log_not_p - log_p), y_shape),
        )

    return record_operation(value, (p, target), backward)


def binary_cross_entropy_with_logits(
    x: TensorLike,
    target: TensorLike,
    weight: TensorLike | None = None,
    pos_weight: TensorLike | None = None,
    reduction: str = "mean",
) -> Tensor:
    """-(w y ln σ(x) + (1 - y) ln σ(-x)) for logits x, exact at both ends; w is `pos_weight`, or 1. Units: nats.

        dx = ((w y + 1 - y) σ(x) - w y) dz,  dy = (ln σ(-x) - w ln σ(x)) dz

    A term whose factor is 0 is 0, even if its logarithm is -infinity.

    Shapes: x (...), target (...), weight (...), pos_weight (...) -> () or their shape, broadcast
    Raises: ShapeError if the shapes do not broadcast, ConfigError for an unknown reduction
    """
    name = "binary_cross_entropy_with_logits"
    _expect_reduction(name, reduction, "mean", "sum", "none")
    x, target = operands(name, x, target, to_float=True)
    a, y = x.data, target.data
    positive = np.ones((), a.dtype) if pos_weight is None else as_tensor(pos_weight).data.astype(a.dtype, copy=False)
    smaller = np.log1p(np.exp(-np.abs(a)))  # the logarithm of the smaller of 1 + exp(a) and 1 + exp(-a)
    log_p, log_not_p = np.minimum(a, 0) - smaller, np.minimum(-a, 0) - smaller
    with np.errstate(invalid="ignore"):
        yes = np.where(y == 0, 0, positive * y * log_p)
        no = np.where(y == 1, 0, (1 - y) * log_not_p)
    value, scale = _weighted(name, -(yes + no), weight, reduction)
    x_shape, y_shape = wanted_shape(x), wanted_shape(target)

    def backward(dz: Array) -> Gradients:
        dz = dz * scale
        with np.errstate(over="ignore", invalid="ignore"):
            sigmoid = 1 / (1 + np.exp(-a))
            return (
                None
                if x_shape is None
                else unbroadcast(dz * ((positive * y + 1 - y) * sigmoid - positive * y), x_shape),
                None if y_shape is None else unbroadcast(dz * (log_not_p - positive * log_p), y_shape),
            )

    return record_operation(value, (x, target), backward)


# -- shared by the losses


def _expect_reduction(name: str, reduction: str, *known: str) -> None:
    if reduction not in known:
        raise ConfigError(f"{name}: reduction must be one of {', '.join(known)}; got {reduction!r}")


def _reduced(terms: Array, reduction: str) -> tuple[Array, Array]:
    """The reduced terms, and the derivative of the result by each term."""
    if reduction == "none":
        return terms, np.ones((), terms.dtype)
    if reduction == "sum":
        return np.asarray(terms.sum()), np.ones((), terms.dtype)
    count = np.asarray(terms.size, terms.dtype)  # an array: the mean of nothing is NaN
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(terms.sum() / count), 1 / count


def _weighted(name: str, terms: Array, weight: TensorLike | None, reduction: str) -> tuple[Array, Array]:
    """As `_reduced`, each term multiplied by its weight."""
    if weight is None:
        return _reduced(terms, reduction)
    w = as_tensor(weight).data.astype(terms.dtype, copy=False)
    try:
        fits = np.broadcast_shapes(terms.shape, w.shape) == terms.shape
    except ValueError:
        fits = False
    if not fits:
        raise ShapeError(f"{name}: weight must broadcast to {terms.shape}; got {w.shape}")
    value, scale = _reduced(terms * w, reduction)
    return value, scale * w


def _class_weights(name: str, weight: Any, classes: int, dtype: Any) -> Array:
    if weight is None:
        return np.ones(classes, dtype)
    w = as_tensor(weight).data.astype(dtype, copy=False)
    if w.shape != (classes,):
        raise ShapeError(f"{name}: weight must be ({classes},), one number for each class; got {w.shape}")
    return w


def _classes(name: str, targets: Tensor, shape: tuple[int, ...], ignore_index: int) -> Array:
    """The targets as a flat array of class ids, checked."""
    if targets.shape != shape[:-1]:
        raise ShapeError(
            f"{name}: targets must be {shape[:-1]}, one class for each row (the classes are the last axis); "
            f"got {targets.shape}"
        )
    if targets.size and targets.dtype.kind not in "iu":
        raise DTypeError(f"{name}: targets must be integers, the classes; got {targets.dtype}")
    ids = targets.data.reshape(-1).astype(np.intp)
    wrong = ids[(ids != ignore_index) & ((ids < 0) | (ids >= shape[-1]))]
    if wrong.size:
        raise IdRangeError(
            f"{name}: targets must be in [0, {shape[-1]}), or {ignore_index} to be ignored; got {wrong[0]}"
        )
    return ids
