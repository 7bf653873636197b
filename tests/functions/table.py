"""One row per function: how it is called, what NumPy and PyTorch say, and what inputs are drawn for it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from tinygrad_llm import functions as F
from tinygrad_llm import testing as t

Array = np.ndarray
Inputs = tuple[tuple[Array, ...], dict[str, Any]]  # the arrays, and the options


@dataclass(frozen=True)
class Row:
    """A function's row. `in_torch` takes the torch module and gives a function of the same arguments."""

    op: Callable[..., Any]
    in_numpy: Callable[..., Any] | None
    inputs: st.SearchStrategy[Inputs]
    in_torch: Callable[[Any], Callable[..., Any]]
    differentiable: bool = True
    broadcasts: bool = False
    special: bool = True  # whether PyTorch's rules for 0, infinity and NaN hold, values and gradients
    special_options: tuple[dict[str, Any], ...] = ({},)


def one(elements: Any = t.tame, **options: Any) -> st.SearchStrategy[Inputs]:
    return st.tuples(t.arrays(elements=elements).map(lambda x: (x,)), st.fixed_dictionaries(options))


def two(elements: Any = t.tame) -> st.SearchStrategy[Inputs]:
    return st.tuples(t.broadcast_pairs(elements), st.just({}))


def reduced(elements: Any = None, **options: Any) -> st.SearchStrategy[Inputs]:
    drawn = st.tuples(t.arrays_with_axis(), st.booleans(), st.fixed_dictionaries(options))
    return drawn.map(lambda d: ((d[0][0],), {"axis": d[0][1], "keepdims": d[1], **d[2]}))


def along(unique: bool = True, **options: Any) -> st.SearchStrategy[Inputs]:
    drawn = st.tuples(t.arrays_with_one_axis(t.distinct, unique), st.fixed_dictionaries(options))
    return drawn.map(lambda d: ((d[0][0],), {"axis": d[0][1], **d[1]}))


def _away_from_whole_ratios(drawn: Inputs) -> bool:
    x, y = drawn[0]
    return bool(np.all(np.abs(x / y - np.round(x / y)) > 0.01))


@st.composite
def indexed(draw: st.DrawFn, source: bool = False) -> Inputs:
    x, axis = draw(t.arrays_with_one_axis())
    at = axis % x.ndim
    sizes = [draw(st.integers(0, 4 if i == at else n)) for i, n in enumerate(x.shape)]
    if not x.shape[at]:
        sizes[at] = 0
    index = draw(npst.arrays(np.int64, tuple(sizes), elements=st.integers(0, max(x.shape[at] - 1, 0))))
    if not source:
        return (x, index), {"axis": axis}
    return (x, index, draw(t.arrays(tuple(sizes)))), {"axis": axis}


@st.composite
def along_axis(draw: st.DrawFn) -> Inputs:
    x, axis = draw(t.arrays_with_one_axis(t.tame))
    at = axis % x.ndim
    shape = [draw(st.integers(0, 3)) if i == at else draw(st.sampled_from([n, 1])) for i, n in enumerate(x.shape)]
    if not x.shape[at]:
        shape[at] = 0
    low, high = (-x.shape[at], x.shape[at] - 1) if x.shape[at] else (0, 0)
    return (x, draw(npst.arrays(np.int64, tuple(shape), elements=st.integers(low, high)))), {"axis": axis}


@st.composite
def top(draw: st.DrawFn) -> Inputs:
    x, axis = draw(t.arrays_with_one_axis(t.distinct, True))
    return (x,), {"k": draw(st.integers(0, x.shape[axis])), "axis": axis, "largest": draw(st.booleans())}


EINSUMS = (
    "ij,jk->ik;ij,jk",
    "bij,bkj->bik;bij,bkj",
    "ij->ji;ij",
    "ij->;ij",
    "ii->i;ii",
    "ii;ii",
    "iij->j;iij",
    "i,j->ij;i,j",
    "ij,j;ij,j",
    "ij,k->i;ij,k",
    "...i,...i->...;bi,i",
    "...i,ij->...j;abi,ij",
    "ij,jk,kl->il;ij,jk,kl",
    "i,i->;i,i",
    "bhqd,bhkd->bhqk;bhqd,bhkd",
    ",i->i;,i",
    "ij,ij->j;ij,ij",
)


@st.composite
def einsums(draw: st.DrawFn) -> Inputs:
    subscripts, shapes = draw(st.sampled_from(EINSUMS)).split(";")
    sizes = {letter: draw(st.integers(0, 3)) for letter in sorted(set(shapes) - {","})}
    arrays = tuple(draw(t.arrays(tuple(sizes[one] for one in group))) for group in shapes.split(","))
    return arrays, {"subscripts": subscripts}


@st.composite
def repeats(draw: st.DrawFn) -> Inputs:
    x, axis = draw(t.arrays_with_one_axis())
    counts = draw(st.integers(0, 3) | st.lists(st.integers(0, 2), min_size=x.shape[axis], max_size=x.shape[axis]))
    if isinstance(counts, list):
        counts = np.array(counts, np.int64)
    return (x,), {"repeats": counts, "axis": axis}


@st.composite
def expansions(draw: st.DrawFn) -> Inputs:
    x = draw(t.arrays())
    new = draw(st.lists(st.integers(0, 2), max_size=2))
    kept = [draw(st.integers(0, 3) | st.just(-1)) if n == 1 else draw(st.sampled_from([n, -1])) for n in x.shape]
    return (x,), {"sizes": (*new, *kept)}


@st.composite
def flips(draw: st.DrawFn) -> Inputs:
    x = draw(t.arrays(t.shapes_with_axes))
    return (x,), {"axes": draw(npst.valid_tuple_axes(x.ndim, min_size=1))}


@st.composite
def rolls(draw: st.DrawFn) -> Inputs:
    x = draw(t.arrays(t.shapes_with_axes))
    axes = draw(npst.valid_tuple_axes(x.ndim, min_size=1))
    return (x,), {"shifts": tuple(draw(st.integers(-5, 5)) for _ in axes), "axes": axes}


@st.composite
def diagonals(draw: st.DrawFn) -> Inputs:
    x = draw(t.arrays(npst.array_shapes(min_dims=2, max_dims=3, min_side=0, max_side=3)))
    axis1, axis2 = draw(st.permutations(range(x.ndim)))[:2]
    return (x,), {"offset": draw(st.integers(-2, 2)), "axis1": axis1, "axis2": axis2}


@st.composite
def class_losses(draw: st.DrawFn, kind: str) -> Inputs:
    shape, classes = draw(npst.array_shapes(min_dims=0, max_dims=2, min_side=0, max_side=3)), draw(st.integers(1, 4))
    options: dict[str, Any] = {"reduction": draw(st.sampled_from(["mean", "sum", "none"]))}
    if kind != "probabilities" or draw(st.booleans()):
        options["weight"] = draw(t.arrays((classes,), t.positive))
    if kind != "nll":
        options["label_smoothing"] = draw(st.sampled_from([0.0, 0.25]))
    logits = draw(t.arrays((*shape, classes)))
    if kind == "probabilities":
        return (logits, draw(t.arrays((*shape, classes), t.probabilities))), options
    targets = draw(npst.arrays(np.int64, shape, elements=st.integers(0, classes - 1) | st.just(-100)))
    if options["reduction"] == "mean" and not (targets != -100).any():
        options["reduction"] = "sum"  # the mean of nothing is NaN, which finite differences do not measure
    return (logits, targets), options


@st.composite
def pair_losses(draw: st.DrawFn, first: Any, second: Any, *more: str, **options: Any) -> Inputs:
    shape = draw(t.filled_shapes)
    reduction = draw(st.sampled_from(["mean", "sum", "none", *more]))
    return (draw(t.arrays(shape, first)), draw(t.arrays(shape, second))), {
        "reduction": reduction,
        **draw(st.fixed_dictionaries(options)),
    }


@st.composite
def weighted_logits(draw: st.DrawFn) -> Inputs:
    arrays, options = draw(pair_losses(t.tame, t.probabilities))
    if draw(st.booleans()):
        options["weight"] = draw(t.arrays(arrays[0].shape, t.positive))
    if draw(st.booleans()):
        options["pos_weight"] = draw(t.arrays(arrays[0].shape[-1:], t.positive))
    return arrays, options


@st.composite
def norms(draw: st.DrawFn) -> Inputs:
    """Magnitudes that differ, and p = infinity only where there is one: PyTorch has no largest of nothing."""
    x = draw(t.arrays(t.shapes_with_axes, st.integers(1, 60).map(lambda k: k / 8), unique=True))
    p = draw(st.sampled_from([0.5, 1.0, 1.5, 2.0, 3.0, *([np.inf] if x.size else [])]))
    signs = draw(st.sampled_from([1, -1]))
    return (signs * x,), {"axis": -1, "keepdims": draw(st.booleans()), "p": p}


@st.composite
def norms_of_layers(draw: st.DrawFn) -> Inputs:
    x = draw(t.arrays(npst.array_shapes(min_dims=1, max_dims=3, min_side=1, max_side=3)))
    shape = x.shape[draw(st.integers(0, x.ndim - 1)) :]
    options: dict[str, Any] = {"normalized_shape": shape, "eps": 0.1}
    vectors = draw(st.integers(0, 2))
    return (x, *(draw(t.arrays(shape)) for _ in range(vectors))), options


@st.composite
def lookups(draw: st.DrawFn) -> Inputs:
    rows, width = draw(st.integers(1, 4)), draw(st.integers(0, 3))
    ids = draw(npst.arrays(np.int64, t.shapes, elements=st.integers(0, rows - 1)))
    return (ids, draw(t.arrays((rows, width)))), {"padding_idx": draw(st.integers(-rows, rows - 1))}


# -- what NumPy says, where it takes more than a name


def _sorted(x: Array, axis: int, descending: bool = False) -> tuple[Array, Array]:
    order = np.argsort(-x if descending else x, axis, kind="stable")
    return np.take_along_axis(x, order, axis), order


def _topk(x: Array, k: int, axis: int, largest: bool) -> tuple[Array, Array]:
    values, order = _sorted(x, axis, largest)
    return values.take(np.arange(k), axis), order.take(np.arange(k), axis)


def _norm(x: Array, p: float, axis: Any, keepdims: bool) -> Array:
    sizes = np.abs(x)
    if p == np.inf:
        return sizes.max(axis, keepdims=keepdims, initial=0)
    return (sizes**p).sum(axis, keepdims=keepdims) ** (1 / p)


def _gather(x: Array, index: Array, axis: int) -> Array:
    z = np.empty(index.shape)
    for place in np.ndindex(index.shape):
        z[place] = x[tuple(index[place] if i == axis % x.ndim else p for i, p in enumerate(place))]
    return z


def _scatter_add(x: Array, index: Array, source: Array, axis: int) -> Array:
    z = x.copy()
    for place in np.ndindex(index.shape):
        z[tuple(index[place] if i == axis % x.ndim else p for i, p in enumerate(place))] += source[place]
    return z


def _log_softmax(x: Array) -> Array:
    return x - np.log(np.exp(x).sum(-1, keepdims=True))


def _cross_entropy(
    x: Array, y: Array, reduction: str, weight: Array | None = None, label_smoothing: float = 0.0
) -> Array:
    classes = x.shape[-1]
    w = np.ones(classes) if weight is None else weight
    if y.dtype.kind == "i":
        q, total = (y[..., None] == np.arange(classes)).astype(float), w[y[y != -100]].sum()
        q[y != -100] = (1 - label_smoothing) * q[y != -100] + label_smoothing / classes
    else:
        q, total = (1 - label_smoothing) * y + label_smoothing / classes, x.size / classes
    losses = np.asarray(-(w * q * _log_softmax(x)).sum(-1))
    with np.errstate(invalid="ignore"):
        return losses if reduction == "none" else losses.sum() / (np.float64(total) if reduction == "mean" else 1)


def _nll(x: Array, y: Array, weight: Array, reduction: str) -> Array:
    counted = y != -100
    picked = np.take_along_axis(x, np.where(counted, y, 0)[..., None], -1)[..., 0]
    w = np.where(counted, weight[np.where(counted, y, 0)], 0)
    losses = -w * picked
    return losses if reduction == "none" else losses.sum() / (w.sum() if reduction == "mean" else 1)


def _mean_of(terms: Array, reduction: str) -> Array:
    if reduction == "batchmean":
        return terms.sum() / (terms.shape[0] if terms.ndim else 1)
    return {"none": terms, "sum": terms.sum(), "mean": terms.mean()}[reduction]


def _kl(a: Array, b: Array, reduction: str, log_target: bool) -> Array:
    return _mean_of(np.exp(b) * (b - a) if log_target else b * (np.log(b) - a), reduction)


def _bce_logits(x: Array, y: Array, reduction: str, weight: Any = 1.0, pos_weight: Any = 1.0) -> Array:
    return _mean_of(
        weight * (pos_weight * y * np.logaddexp(0, -x) + (1 - y) * np.logaddexp(0, x)) + np.zeros_like(x), reduction
    )


def _layer_norm(x: Array, weight: Any = 1.0, bias: Any = 0.0, *, normalized_shape: Any, eps: float) -> Array:
    axes = tuple(range(-len(normalized_shape), 0))
    mean = x.mean(axes, keepdims=True)
    return (x - mean) / np.sqrt(((x - mean) ** 2).mean(axes, keepdims=True) + eps) * weight + bias


# -- what PyTorch calls it: `dim` for `axis`, `keepdim` for `keepdims`, and the class axis in second place


def _dim(function: Callable[..., Any]) -> Callable[..., Any]:
    def call(*tensors: Any, axis: Any = None, keepdims: bool | None = None, **options: Any) -> Any:
        if keepdims is not None:
            options["keepdim"] = keepdims
        return function(*tensors, dim=axis, **options)

    return call


def _prod(torch: Any) -> Callable[..., Any]:
    def call(x: Any, axis: Any = None, keepdims: bool = False) -> Any:
        for one in sorted(range(x.ndim) if axis is None else {a % x.ndim for a in np.atleast_1d(axis).astype(int)}):
            x = x.prod(dim=one, keepdim=True)
        gone = range(x.ndim) if axis is None else {a % x.ndim for a in np.atleast_1d(axis).astype(int)}
        return x if keepdims else x.reshape([n for i, n in enumerate(x.shape) if i not in gone])

    return call


def _reduce_bool(function: Callable[..., Any]) -> Callable[..., Any]:
    def call(x: Any, axis: Any = None, keepdims: bool = False) -> Any:
        axes = tuple(range(x.ndim)) if axis is None else tuple(np.atleast_1d(axis).astype(int).tolist())
        return function(x, dim=axes, keepdim=keepdims) if axes else x != 0

    return call


def _rows(function: Callable[..., Any]) -> Callable[..., Any]:
    """PyTorch's class losses take (rows, classes)."""

    def call(x: Any, y: Any, **options: Any) -> Any:
        rows = y.reshape(-1, x.shape[-1]) if y.dtype.is_floating_point else y.reshape(-1)
        z = function(x.reshape(-1, x.shape[-1]), rows, **options)
        return z.reshape(x.shape[:-1]) if options["reduction"] == "none" else z

    return call


AXES = {"axis": 0}
TABLE: dict[str, Row] = {
    "sin": Row(F.sin, np.sin, one(), lambda torch: torch.sin),
    "cos": Row(F.cos, np.cos, one(), lambda torch: torch.cos),
    "square": Row(F.square, np.square, one(), lambda torch: torch.square),
    "rsqrt": Row(F.rsqrt, lambda x: 1 / np.sqrt(x), one(t.positive), lambda torch: torch.rsqrt),
    "log1p": Row(F.log1p, np.log1p, one(t.positive), lambda torch: torch.log1p),
    "expm1": Row(F.expm1, np.expm1, one(), lambda torch: torch.expm1),
    "softplus": Row(
        F.softplus,
        lambda x, beta: np.logaddexp(0, beta * x) / beta,
        one(beta=st.sampled_from([1.0, 0.5, 3.0])),
        lambda torch: torch.nn.functional.softplus,
    ),
    "logsigmoid": Row(
        F.logsigmoid, lambda x: -np.logaddexp(0, -x), one(), lambda torch: torch.nn.functional.logsigmoid
    ),
    "logaddexp": Row(F.logaddexp, np.logaddexp, two(), lambda torch: torch.logaddexp, broadcasts=True),
    "remainder": Row(
        F.remainder, np.remainder, two(t.positive).filter(_away_from_whole_ratios), lambda torch: torch.remainder
    ),
    "floor_divide": Row(
        F.floor_divide,
        np.floor_divide,
        two(t.positive).filter(_away_from_whole_ratios),
        lambda torch: torch.floor_divide,
        False,
    ),
    # PyTorch divides the product by each element, which is NaN at infinity; products of the others are not.
    "prod": Row(F.prod, np.prod, reduced(), _prod, special=False),
    "std": Row(
        F.std,
        lambda x, axis, keepdims, correction: np.std(x, axis, ddof=correction, keepdims=keepdims),
        st.tuples(
            t.arrays(npst.array_shapes(min_dims=1, max_dims=3, min_side=2, max_side=3), t.distinct, unique=True),
            st.booleans(),
            st.integers(0, 1),
        ).map(lambda d: ((d[0],), {"axis": -1, "keepdims": d[1], "correction": d[2]})),
        lambda torch: _dim(torch.std),
        special_options=(AXES,),
    ),
    "norm": Row(
        F.norm,
        _norm,
        norms(),
        lambda torch: lambda x, p, axis, keepdims: torch.linalg.vector_norm(x, p, axis, keepdims),
        special_options=tuple({"axis": 0, "p": p, "keepdims": False} for p in (1.0, 2.0, np.inf, 3.0)),
    ),
    "normalize": Row(
        F.normalize,
        lambda x, axis: x / np.maximum(np.sqrt((x * x).sum(axis, keepdims=True)), 1e-12),
        st.tuples(t.arrays_with_one_axis(), st.just({})).map(lambda d: ((d[0][0],), {"axis": d[0][1]})),
        lambda torch: _dim(torch.nn.functional.normalize),
        special_options=(AXES,),
    ),
    "gather": Row(
        lambda x, index, axis: F.gather(x, axis, index),
        _gather,
        indexed(),
        lambda torch: lambda x, index, axis: torch.gather(x, axis, index),
        special=False,
    ),
    "scatter_add": Row(
        lambda x, index, source, axis: F.scatter_add(x, axis, index, source),
        _scatter_add,
        indexed(source=True),
        lambda torch: lambda x, index, source, axis: torch.scatter_add(x, axis, index, source),
        special=False,
    ),
    "take_along_axis": Row(
        F.take_along_axis, np.take_along_axis, along_axis(), lambda torch: _dim(torch.take_along_dim), special=False
    ),
    "sort": Row(
        F.sort,
        _sorted,
        along(descending=st.booleans()),
        lambda torch: lambda x, axis, descending=False: torch.sort(x, dim=axis, descending=descending, stable=True),
        special_options=(AXES, {"axis": 0, "descending": True}),
    ),
    "argsort": Row(
        F.argsort,
        lambda x, axis, descending=False: _sorted(x, axis, descending)[1],
        along(descending=st.booleans()),
        lambda torch: lambda x, axis, descending=False: torch.argsort(x, dim=axis, descending=descending, stable=True),
        differentiable=False,
        special_options=(AXES,),
    ),
    "topk": Row(F.topk, _topk, top(), lambda torch: _dim(torch.topk), special=False),
    "argmin": Row(
        F.argmin,
        np.argmin,
        st.tuples(t.arrays(t.filled_shapes, t.distinct, unique=True), st.booleans()).map(
            lambda d: ((d[0],), {"axis": -1 if d[0].ndim else None, "keepdims": d[1]})
        ),
        lambda torch: _dim(torch.argmin),
        differentiable=False,
        special_options=(AXES,),
    ),
    "einsum": Row(
        lambda *arrays, subscripts: F.einsum(subscripts, *arrays),
        lambda *arrays, subscripts: np.array(np.einsum(subscripts, *arrays)),
        einsums(),
        lambda torch: lambda *arrays, subscripts: torch.einsum(subscripts, *arrays),
        special=False,
    ),
    "outer": Row(
        F.outer,
        np.outer,
        st.tuples(t.arrays(st.integers(0, 3).map(lambda n: (n,))), t.arrays(st.integers(0, 3).map(lambda n: (n,)))).map(
            lambda xs: (xs, {})
        ),
        lambda torch: torch.outer,
        special=False,
    ),
    "repeat_interleave": Row(
        F.repeat_interleave,
        lambda x, repeats, axis: np.repeat(x, repeats, axis),
        repeats(),
        lambda torch: (
            lambda x, repeats, axis: torch.repeat_interleave(
                x, repeats if isinstance(repeats, int) else torch.tensor(repeats), axis
            )
        ),
        special=False,
    ),
    "expand": Row(
        lambda x, sizes: F.expand(x, *sizes),
        lambda x, sizes: np.broadcast_to(x, [x.shape[i - len(sizes)] if n == -1 else n for i, n in enumerate(sizes)]),
        expansions(),
        lambda torch: lambda x, sizes: x.expand(sizes),
        special=False,
    ),
    "chunk": Row(
        F.chunk,
        None,
        st.tuples(t.arrays_with_one_axis(), st.integers(1, 4)).map(
            lambda d: ((d[0][0],), {"chunks": d[1], "axis": d[0][1]})
        ),
        lambda torch: _dim(torch.chunk),
        special=False,
    ),
    "flip": Row(
        F.flip,
        lambda x, axes: np.flip(x, axes),
        flips(),
        lambda torch: lambda x, axes: torch.flip(x, axes),
        special=False,
    ),
    "roll": Row(
        F.roll,
        lambda x, shifts, axes: np.roll(x, shifts, axes),
        rolls(),
        lambda torch: lambda x, shifts, axes: torch.roll(x, shifts, axes),
        special=False,
    ),
    "diagonal": Row(
        F.diagonal,
        np.diagonal,
        diagonals(),
        lambda torch: lambda x, offset, axis1, axis2: torch.diagonal(x, offset, axis1, axis2),
        special=False,
    ),
    "isnan": Row(F.isnan, np.isnan, one(t.special), lambda torch: torch.isnan, False),
    "isfinite": Row(F.isfinite, np.isfinite, one(t.special), lambda torch: torch.isfinite, False),
    "isinf": Row(F.isinf, np.isinf, one(t.special), lambda torch: torch.isinf, False),
    "any": Row(F.any, np.any, reduced(), lambda torch: _reduce_bool(torch.any), False, special_options=(AXES,)),
    "all": Row(F.all, np.all, reduced(), lambda torch: _reduce_bool(torch.all), False, special_options=(AXES,)),
    "bitwise_and": Row(
        lambda x, y: F.bitwise_and(x > 0, y > 0),
        lambda x, y: (x > 0) & (y > 0),
        two(),
        lambda torch: lambda x, y: (x > 0) & (y > 0),
        False,
    ),
    "bitwise_or": Row(
        lambda x, y: F.bitwise_or(x > 0, y > 0),
        lambda x, y: (x > 0) | (y > 0),
        two(),
        lambda torch: lambda x, y: (x > 0) | (y > 0),
        False,
    ),
    "bitwise_xor": Row(
        lambda x, y: F.bitwise_xor(x > 0, y > 0),
        lambda x, y: (x > 0) ^ (y > 0),
        two(),
        lambda torch: lambda x, y: (x > 0) ^ (y > 0),
        False,
    ),
    "cross_entropy of weighted classes": Row(
        F.cross_entropy,
        _cross_entropy,
        class_losses("classes"),
        lambda torch: _rows(torch.nn.functional.cross_entropy),
        special=False,
    ),
    "cross_entropy of probabilities": Row(
        F.cross_entropy,
        _cross_entropy,
        class_losses("probabilities").filter(lambda drawn: drawn[0][0].size > 0),
        lambda torch: _rows(torch.nn.functional.cross_entropy),
        special=False,
    ),
    "nll_loss": Row(
        F.nll_loss, _nll, class_losses("nll"), lambda torch: _rows(torch.nn.functional.nll_loss), special=False
    ),
    "mse_loss": Row(
        F.mse_loss,
        lambda x, y, reduction: _mean_of((x - y) ** 2, reduction),
        pair_losses(t.tame, t.tame),
        lambda torch: torch.nn.functional.mse_loss,
        special_options=({"reduction": "none"},),
    ),
    "kl_div": Row(
        F.kl_div,
        _kl,
        pair_losses(t.tame, t.positive, "batchmean", log_target=st.booleans()),
        lambda torch: torch.nn.functional.kl_div,
        special=False,
    ),
    "binary_cross_entropy": Row(
        F.binary_cross_entropy,
        lambda p, y, reduction: _mean_of(-(y * np.log(p) + (1 - y) * np.log(1 - p)), reduction),
        pair_losses(t.probabilities, t.probabilities),
        lambda torch: torch.nn.functional.binary_cross_entropy,
        special=False,
    ),
    "binary_cross_entropy_with_logits": Row(
        F.binary_cross_entropy_with_logits,
        _bce_logits,
        weighted_logits(),
        lambda torch: torch.nn.functional.binary_cross_entropy_with_logits,
        special=False,
    ),
    "one_hot": Row(
        F.one_hot,
        lambda ids, num_classes: np.eye(num_classes, dtype=np.int64)[ids],
        st.tuples(
            npst.arrays(np.int64, t.shapes, elements=st.integers(0, 3)).map(lambda x: (x,)), st.just({"num_classes": 4})
        ),
        lambda torch: torch.nn.functional.one_hot,
        differentiable=False,
        special=False,
    ),
    "layer_norm": Row(
        lambda x, *vectors, normalized_shape, eps: F.layer_norm(x, normalized_shape, *vectors, eps=eps),
        _layer_norm,
        norms_of_layers(),
        lambda torch: (
            lambda x, *vectors, normalized_shape, eps: torch.nn.functional.layer_norm(
                x, normalized_shape, *vectors, eps=eps
            )
        ),
        special=False,
    ),
}
