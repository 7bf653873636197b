"""Strategies of Hypothesis for small cases of every fused op; the table of chosen cases is in verify/op_cases.py."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from tinygrad_llm.verify.op_cases import Case, ids, normal

Array = np.ndarray

# -- small shapes, also empty ones

leading = npst.array_shapes(min_dims=0, max_dims=2, min_side=0, max_side=3)
widths = st.integers(0, 4)


@st.composite
def _activations(draw: st.DrawFn, op: str, approximations: tuple[str, ...] = ()) -> Case:
    options = {"approximate": draw(st.sampled_from(approximations))} if approximations else {}
    return Case(op, "any", (normal(*draw(leading)),), options)


@st.composite
def _softmaxes(draw: st.DrawFn, op: str) -> Case:
    shape = draw(npst.array_shapes(min_dims=1, max_dims=3, min_side=0, max_side=3))
    return Case(op, "any", (normal(*shape),), {"axis": draw(st.integers(-len(shape), len(shape) - 1))})


@st.composite
def _norms(draw: st.DrawFn, op: str, most_vectors: int) -> Case:
    shape = (*draw(leading), draw(widths))
    vectors = draw(st.integers(1, most_vectors))
    inputs = (normal(*shape), *(normal(shape[-1]) + i for i in range(vectors)))
    return Case(op, "any", inputs, {"eps": draw(st.sampled_from([1e-5, 0.2]))})


@st.composite
def _rotations(draw: st.DrawFn) -> Case:
    shape, pairs = draw(leading), draw(st.integers(0, 2))
    angles = normal(*draw(st.sampled_from([shape, shape[1:]])), pairs)
    return Case("rotate", "any", (normal(*shape, 2 * pairs),), {"cos": np.cos(angles), "sin": np.sin(angles)})


@st.composite
def _linears(draw: st.DrawFn) -> Case:
    shape, out = (*draw(leading), draw(widths)), draw(widths)
    bias = (normal(out),) if draw(st.booleans()) else ()
    return Case("linear", "any", (normal(*shape), normal(out, shape[-1]), *bias))


@st.composite
def _dropouts(draw: st.DrawFn) -> Case:
    options = {"p": draw(st.sampled_from([0.0, 0.25, 0.5, 1.0])), "training": draw(st.booleans())}
    return Case("dropout", "any", (normal(*draw(leading)),), options, draw(st.integers(0, 99)))


@st.composite
def _embeddings(draw: st.DrawFn) -> Case:
    rows = draw(st.integers(1, 4))
    return Case("embedding", "any", (ids(rows, *draw(leading)), normal(rows, draw(widths))))


@st.composite
def _losses(draw: st.DrawFn, op: str) -> Case:
    shape, classes = draw(leading), draw(st.integers(1, 5))
    targets = draw(npst.arrays(np.int64, shape, elements=st.integers(0, classes - 1) | st.just(-100)))
    options: dict[str, Any] = {
        "label_smoothing": draw(st.sampled_from([0.0, 0.25])),
        "ignore_index": draw(st.sampled_from([-100, 0])),
    }
    if options["ignore_index"] == 0:
        targets = np.maximum(targets, 0)
    if op == "cross_entropy":
        options["reduction"] = draw(st.sampled_from(["mean", "sum", "none"]))
        return Case(op, "any", (normal(*shape, classes), targets), options)
    width = draw(st.integers(0, 3))
    return Case(op, "any", (normal(*shape, width), normal(classes, width), targets), options)


@st.composite
def _attentions(draw: st.DrawFn) -> Case:
    batch = draw(st.sampled_from([(), (0,), (1,), (2,)]))
    groups, shared = draw(st.integers(1, 2)), draw(st.integers(1, 2))
    queries, keys = draw(st.integers(0, 4)), draw(st.integers(0, 5))
    width, value_width = draw(st.integers(1, 3)), draw(st.integers(0, 3))
    inputs: list[Array] = [
        normal(*batch, groups * shared, queries, width),
        normal(*batch, groups, keys, width),
        normal(*batch, groups, keys, value_width),
    ]
    options: dict[str, Any] = {
        "is_causal": draw(st.booleans()),
        "scale": draw(st.sampled_from([None, 2.0])),
        "dropout_p": draw(st.sampled_from([0.0, 0.4])),
    }
    match draw(st.sampled_from(["none", "boolean", "added", "learned"])):
        case "boolean":
            options["attn_mask"] = draw(npst.arrays(np.bool_, (queries, keys)))
        case "added":
            options["attn_mask"] = normal(groups * shared, 1, keys)
        case "learned":
            inputs.append(normal(queries, keys))
    return Case("scaled_dot_product_attention", "any", tuple(inputs), options, draw(st.integers(0, 99)))


SMALL_CASES: dict[str, st.SearchStrategy[Case]] = {
    "gelu": _activations("gelu", ("none", "tanh")),
    "silu": _activations("silu"),
    "softmax": _softmaxes("softmax"),
    "log_softmax": _softmaxes("log_softmax"),
    "layer_norm": _norms("layer_norm", 2),
    "rms_norm": _norms("rms_norm", 1),
    "rotate": _rotations(),
    "linear": _linears(),
    "dropout": _dropouts(),
    "embedding": _embeddings(),
    "cross_entropy": _losses("cross_entropy"),
    "linear_cross_entropy": _losses("linear_cross_entropy"),
    "scaled_dot_product_attention": _attentions(),
}
