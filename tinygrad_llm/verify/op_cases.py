"""The table of inputs on which every op is verified, for `gradcheck` and for the tests.

A case runs on the fused op and on its definition.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from tinygrad_llm import functions
from tinygrad_llm.arrays import Array
from tinygrad_llm.gradcheck import spread
from tinygrad_llm.random import Generator
from tinygrad_llm.tensor import Tensor

functions.load_all()  # so that FUSED lists every op


@dataclass(frozen=True)
class Case:
    """One call of an op. Float arrays among `inputs` require a gradient; other inputs are passed on unchanged.

    `seed` makes a new Generator for every call, so that op and definition draw the same dropout mask. `measurable` is
    False where slopes cannot be measured: an infinite input cannot be moved, and next to 1e38 a small step is lost.
    """

    op: str
    name: str
    inputs: tuple[Any, ...]
    options: dict[str, Any] = field(default_factory=dict)
    seed: int | None = None
    measurable: bool = True

    def tensors(self, dtype: Any = np.float64) -> list[Any]:
        return [Tensor(x.astype(dtype), requires_grad=True) if _is_float(x) else x for x in self.inputs]

    def call(self, function: Callable[..., Tensor], inputs: Any) -> Tensor:
        dtype = next(x.dtype for x in inputs if isinstance(x, Tensor) and x.dtype.kind in "fc")
        options = {name: x.astype(dtype) if _is_float(x) else x for name, x in self.options.items()}
        if self.seed is not None:
            options["generator"] = Generator(self.seed)
        return function(*inputs, **options)

    def run(self, function: Callable[..., Tensor], dtype: Any = np.float64) -> tuple[Array, list[Array | None]]:
        """The output, and the gradient of each input that requires one; the output's gradient has both signs."""
        inputs = self.tensors(dtype)
        y = self.call(function, inputs)
        y.backward(spread(y.shape, 7).astype(y.dtype))
        return y.data, [x.grad for x in inputs if isinstance(x, Tensor) and x.requires_grad]

    def __str__(self) -> str:
        return f"{self.op}-{self.name}".replace(" ", "-")


def _is_float(x: Any) -> bool:
    return isinstance(x, np.ndarray) and x.dtype.kind == "f"


def normal(*shape: int, scale: float = 1.0) -> Array:
    """Normally distributed numbers, the same for the same shape; no symmetry hides a wrong axis."""
    return Generator(_seed(9, shape)).normal(0.0, scale, shape, np.float64)


def _seed(first: int, shape: tuple[int, ...]) -> int:
    """A different seed for every shape."""
    for size in shape:
        first = first * 1009 + size + 1
    return first % 2**31


def ids(high: int, *shape: int) -> Array:
    """Integers in [0, high), the same for the same `high` and shape."""
    return Generator(_seed(high, shape)).randint(0, high, shape)


def some_ignored(high: int, *shape: int, ignore_index: int = -100) -> Array:
    targets = ids(high, *shape)
    targets.reshape(-1)[::3] = ignore_index
    return targets


LOWEST = float(np.finfo(np.float32).min)
ALL_BUT_SOME = ids(10, 2, 1, 5, 7) < 7
SECOND_SEES_NONE = np.array([[True, False, True], [False, False, False], [True, True, True]])


def _attention(
    name: str,
    q: Array,
    k: Array,
    v: Array,
    *mask: Array,
    seed: int | None = None,
    measurable: bool = True,
    **options: Any,
) -> Case:
    return Case("scaled_dot_product_attention", name, (q, k, v, *mask), options, seed, measurable)


CASES = [
    Case("gelu", "one element", (normal(),)),
    Case("gelu", "tanh, one element", (normal(),), {"approximate": "tanh"}),
    Case("gelu", "empty", (normal(0, 3),)),
    Case("gelu", "exact", (normal(3, 5, 7, scale=3),)),
    Case("gelu", "tanh", (normal(3, 5, 7, scale=3),), {"approximate": "tanh"}),
    Case("gelu", "more than a block", (normal(67_001),)),
    Case("gelu", "tanh, more than a block", (normal(67_001),), {"approximate": "tanh"}),
    Case("silu", "one element", (normal(),)),
    Case("silu", "empty", (normal(2, 0),)),
    Case("silu", "usual", (normal(3, 5, 7, scale=3),)),
    Case("silu", "more than a block", (normal(67_001),)),
    Case("softmax", "one row", (normal(5),)),
    Case("softmax", "last axis", (normal(2, 3, 5),)),
    Case("softmax", "middle axis", (normal(2, 3, 5),), {"axis": 1}),
    Case("softmax", "first axis", (normal(2, 3, 5),), {"axis": -3}),
    Case("softmax", "no rows", (normal(0, 4),)),
    Case("softmax", "rows of width zero", (normal(3, 0),)),
    Case("softmax", "rows of width one", (normal(3, 1),)),
    Case("softmax", "some -inf", (np.where(normal(4, 6) > 0.8, -np.inf, normal(4, 6)),), measurable=False),
    Case("softmax", "large differences", (normal(4, 6, scale=30),)),
    Case("log_softmax", "one row", (normal(5),)),
    Case("log_softmax", "last axis", (normal(2, 3, 5),)),
    Case("log_softmax", "middle axis", (normal(2, 3, 5),), {"axis": 1}),
    Case("log_softmax", "no rows", (normal(0, 4),)),
    Case("log_softmax", "rows of width zero", (normal(3, 0),)),
    Case("log_softmax", "large differences", (normal(4, 6, scale=30),)),
    Case("layer_norm", "one token", (normal(7), normal(7), normal(7))),
    Case("layer_norm", "a batch", (normal(2, 3, 9), normal(9), normal(9))),
    Case("layer_norm", "without bias", (normal(2, 3, 9), normal(9))),
    Case("layer_norm", "another eps", (normal(4, 6), normal(6), normal(6)), {"eps": 0.3}),
    Case("layer_norm", "no tokens", (normal(0, 6), normal(6), normal(6))),
    Case("layer_norm", "width zero", (normal(3, 0), normal(0), normal(0))),
    Case("layer_norm", "width one", (normal(3, 1), normal(1), normal(1))),
    Case("layer_norm", "far from zero", (normal(3, 8) + 100, normal(8), normal(8)), {"eps": 0.1}),
    Case("layer_norm", "more than a block", (normal(531, 131), normal(131), normal(131))),
    Case("rms_norm", "one token", (normal(7), normal(7))),
    Case("rms_norm", "a batch", (normal(2, 3, 9), normal(9))),
    Case("rms_norm", "another eps", (normal(4, 6), normal(6)), {"eps": 0.3}),
    Case("rms_norm", "no tokens", (normal(2, 0, 6), normal(6))),
    Case("rms_norm", "width zero", (normal(3, 0), normal(0))),
    Case("rms_norm", "more than a block", (normal(531, 131), normal(131))),
    Case("rotate", "one token", (normal(4),), {"cos": np.cos(normal(2)), "sin": np.sin(normal(2))}),
    Case(
        "rotate",
        "one table of angles for all heads",
        (normal(2, 3, 5, 4),),
        {"cos": np.cos(normal(5, 2)), "sin": np.sin(normal(5, 2))},
    ),
    Case(
        "rotate",
        "angles per sequence",
        (normal(2, 3, 5, 6),),
        {"cos": np.cos(normal(2, 1, 5, 3)), "sin": np.sin(normal(2, 1, 5, 3))},
    ),
    Case("rotate", "no tokens", (normal(2, 0, 4),), {"cos": normal(0, 2), "sin": normal(0, 2)}),
    Case("rotate", "no features", (normal(2, 3, 0),), {"cos": normal(3, 0), "sin": normal(3, 0)}),
    Case("linear", "one row", (normal(3), normal(4, 3), normal(4))),
    Case("linear", "a batch", (normal(2, 5, 3), normal(4, 3), normal(4))),
    Case("linear", "without bias", (normal(2, 5, 3), normal(4, 3))),
    Case("linear", "no rows", (normal(0, 3), normal(4, 3), normal(4))),
    Case("linear", "no features", (normal(2, 0), normal(4, 0), normal(4))),
    Case("linear", "no outputs", (normal(2, 3), normal(0, 3), normal(0))),
    Case("dropout", "one element", (normal(),), {"p": 0.5}, 1),
    Case("dropout", "empty", (normal(0, 2),), {"p": 0.5}, 1),
    Case("dropout", "a tenth", (normal(3, 5, 7),), {"p": 0.1}, 2),
    Case("dropout", "nine tenths", (normal(3, 5, 7),), {"p": 0.9}, 3),
    Case("dropout", "all", (normal(3, 5),), {"p": 1.0}, 4),
    Case("dropout", "none", (normal(3, 5),), {"p": 0.0}, 4),
    Case("dropout", "in evaluation", (normal(3, 5),), {"p": 0.5, "training": False}, 4),
    Case("embedding", "one id", (np.array(2), normal(4, 3))),
    Case("embedding", "a batch with repeats", (ids(6, 4, 9), normal(6, 5))),
    Case("embedding", "one repeated id", (np.full((3, 3), 1), normal(4, 2))),
    Case("embedding", "no ids", (ids(1, 0, 3), normal(4, 2))),
    Case("embedding", "width zero", (ids(4, 3), normal(4, 0))),
    Case("embedding", "nested lists", ([[3, 0], [0, 3]], normal(4, 3))),
    Case("embedding", "16-bit ids", (ids(300, 40).astype(np.uint16), normal(300, 2))),
    Case("embedding", "a Tensor of ids", (Tensor(ids(5, 2, 7).astype(np.int32)), normal(5, 3))),
    Case("cross_entropy", "one row", (normal(5), np.array(3))),
    Case("cross_entropy", "a batch", (normal(2, 3, 5), ids(5, 2, 3))),
    Case("cross_entropy", "some ignored", (normal(2, 5, 7), some_ignored(7, 2, 5))),
    Case("cross_entropy", "a class ignored", (normal(9, 4), ids(4, 9)), {"ignore_index": 2}),
    Case("cross_entropy", "all ignored", (normal(3, 4), np.full(3, -100))),
    Case("cross_entropy", "summed", (normal(2, 5, 7), some_ignored(7, 2, 5)), {"reduction": "sum"}),
    Case("cross_entropy", "no reduction", (normal(2, 5, 7), some_ignored(7, 2, 5)), {"reduction": "none"}),
    Case("cross_entropy", "one row, no reduction", (normal(4), 2), {"reduction": "none"}),
    Case("cross_entropy", "smoothed", (normal(2, 5, 7), some_ignored(7, 2, 5)), {"label_smoothing": 0.1}),
    Case(
        "cross_entropy",
        "each smoothed",
        (normal(6, 7), some_ignored(7, 6)),
        {"label_smoothing": 0.3, "reduction": "none"},
    ),
    Case("cross_entropy", "smoothed to nothing else", (normal(6, 7), ids(7, 6)), {"label_smoothing": 1.0}),
    Case("cross_entropy", "no rows", (normal(0, 4), ids(4, 0))),
    Case("cross_entropy", "no rows, no reduction", (normal(2, 0, 4), ids(4, 2, 0)), {"reduction": "none"}),
    Case("cross_entropy", "one class", (normal(3, 1), ids(1, 3))),
    Case(
        "cross_entropy",
        "some -inf",
        (np.where(np.eye(4, 6) > 0, -np.inf, normal(4, 6)), [5, 4, 1, 2]),
        measurable=False,
    ),
    Case("cross_entropy", "16-bit targets", (normal(6, 300), ids(300, 6).astype(np.uint16))),
    Case("cross_entropy", "a Tensor of targets", (normal(6, 5), Tensor(some_ignored(5, 6).astype(np.int32)))),
    Case("cross_entropy", "more than a block", (normal(431, 163), some_ignored(163, 431))),
    Case("linear_cross_entropy", "one row", (normal(3), normal(5, 3), 4)),
    Case("linear_cross_entropy", "a batch", (normal(2, 3, 4), normal(7, 4), ids(7, 2, 3))),
    Case("linear_cross_entropy", "some ignored", (normal(2, 5, 4), normal(7, 4), some_ignored(7, 2, 5))),
    Case("linear_cross_entropy", "all ignored", (normal(3, 4), normal(7, 4), np.full(3, -100))),
    Case("linear_cross_entropy", "a class ignored", (normal(9, 4), normal(3, 4), ids(3, 9)), {"ignore_index": 0}),
    Case(
        "linear_cross_entropy",
        "smoothed",
        (normal(2, 5, 4), normal(7, 4), some_ignored(7, 2, 5)),
        {"label_smoothing": 0.2},
    ),
    Case("linear_cross_entropy", "no rows", (normal(0, 4), normal(7, 4), [])),
    Case("linear_cross_entropy", "more than a block", (normal(431, 5), normal(163, 5), some_ignored(163, 431))),
    _attention("without heads", normal(3, 4), normal(5, 4), normal(5, 2)),
    _attention("one batch", normal(2, 3, 5, 4), normal(2, 3, 7, 4), normal(2, 3, 7, 6)),
    _attention("causal", normal(2, 3, 5, 4), normal(2, 3, 5, 4), normal(2, 3, 5, 4), is_causal=True),
    _attention("causal after a cache", normal(2, 2, 3, 4), normal(2, 2, 8, 4), normal(2, 2, 8, 4), is_causal=True),
    _attention("one query after a cache", normal(2, 2, 1, 4), normal(2, 2, 8, 4), normal(2, 2, 8, 4), is_causal=True),
    _attention("causal with more queries", normal(2, 6, 4), normal(2, 4, 4), normal(2, 4, 4), is_causal=True),
    _attention("causal over tiles", normal(3, 150, 4), normal(3, 150, 4), normal(3, 150, 4), is_causal=True),
    _attention(
        "causal over tiles after a cache", normal(2, 90, 4), normal(2, 700, 4), normal(2, 700, 4), is_causal=True
    ),
    _attention("over tiles of heads", normal(5, 140, 2), normal(5, 160, 2), normal(5, 160, 2)),
    _attention("grouped", normal(2, 6, 5, 4), normal(2, 3, 7, 4), normal(2, 3, 7, 2)),
    _attention("grouped causal", normal(2, 4, 5, 4), normal(2, 2, 5, 4), normal(2, 2, 5, 4), is_causal=True),
    _attention("one head of keys", normal(2, 4, 5, 4), normal(2, 1, 5, 4), normal(2, 1, 5, 4)),
    _attention("groups of values only", normal(4, 5, 4), normal(4, 6, 4), normal(2, 6, 3)),
    _attention("keys without heads and batch", normal(2, 4, 5, 4), normal(6, 4), normal(6, 3)),
    _attention("one sequence of keys for a batch", normal(3, 2, 5, 4), normal(1, 2, 6, 4), normal(1, 2, 6, 3)),
    _attention("one query for a batch", normal(1, 2, 5, 4), normal(3, 2, 6, 4), normal(3, 2, 6, 3)),
    _attention("five axes", normal(2, 1, 2, 3, 4), normal(1, 2, 2, 5, 4), normal(2, 2, 2, 5, 3)),
    _attention("padded", normal(2, 3, 5, 4), normal(2, 3, 7, 4), normal(2, 3, 7, 4), attn_mask=ALL_BUT_SOME),
    _attention(
        "one padding mask for all",
        normal(2, 3, 5, 4),
        normal(2, 3, 7, 4),
        normal(2, 3, 7, 4),
        attn_mask=np.arange(7) < 4,
    ),
    _attention(
        "padded and causal",
        normal(2, 3, 5, 4),
        normal(2, 3, 7, 4),
        normal(2, 3, 7, 4),
        attn_mask=ALL_BUT_SOME,
        is_causal=True,
    ),
    _attention(
        "a query that sees no key", normal(2, 3, 4), normal(2, 3, 4), normal(2, 3, 4), attn_mask=SECOND_SEES_NONE
    ),
    _attention(
        "a query that sees no key, additive mask",
        normal(2, 3, 4),
        normal(2, 3, 4),
        normal(2, 3, 4),
        attn_mask=np.where(SECOND_SEES_NONE, 0.0, -np.inf),
    ),
    _attention(
        "all masked by the lowest float",
        normal(2, 3, 4),
        normal(2, 3, 4),
        normal(2, 3, 4),
        attn_mask=np.full((3, 3), LOWEST),
        measurable=False,
    ),
    _attention("additive mask", normal(2, 3, 5, 4), normal(2, 3, 7, 4), normal(2, 3, 7, 4), attn_mask=normal(3, 5, 7)),
    _attention(
        "additive mask, causal",
        normal(2, 3, 5, 4),
        normal(2, 3, 5, 4),
        normal(2, 3, 5, 4),
        attn_mask=normal(5, 5),
        is_causal=True,
    ),
    _attention("learned mask", normal(2, 3, 5, 4), normal(2, 3, 7, 4), normal(2, 3, 7, 4), normal(3, 1, 7)),
    _attention("another scale", normal(2, 3, 4), normal(2, 3, 4), normal(2, 3, 4), scale=0.3),
    _attention("scale zero", normal(2, 3, 4), normal(2, 3, 4), normal(2, 3, 4), scale=0.0),
    _attention("negative scale", normal(2, 3, 4), normal(2, 3, 4), normal(2, 3, 4), scale=-1.5),
    _attention("softcap", normal(2, 3, 4, scale=3), normal(2, 5, 4, scale=3), normal(2, 5, 4), softcap=2.0),
    _attention(
        "softcap, grouped, causal, masked, with dropout",
        normal(2, 4, 5, 4),
        normal(2, 2, 7, 4),
        normal(2, 2, 7, 3),
        attn_mask=ALL_BUT_SOME,
        is_causal=True,
        softcap=0.5,
        dropout_p=0.3,
        seed=8,
    ),
    _attention("softcap over tiles", normal(2, 90, 4), normal(2, 90, 4), normal(2, 90, 4), is_causal=True, softcap=1.5),
    _attention("large scores", normal(2, 5, 4, scale=9), normal(2, 5, 4, scale=9), normal(2, 5, 4), is_causal=True),
    _attention("dropout", normal(2, 3, 5, 4), normal(2, 3, 7, 4), normal(2, 3, 7, 4), dropout_p=0.3, seed=5),
    _attention(
        "dropout, causal, over tiles",
        normal(2, 90, 4),
        normal(2, 90, 4),
        normal(2, 90, 4),
        dropout_p=0.5,
        is_causal=True,
        seed=6,
    ),
    _attention(
        "dropout, grouped, padded",
        normal(2, 4, 5, 4),
        normal(2, 2, 7, 4),
        normal(2, 2, 7, 4),
        dropout_p=0.2,
        attn_mask=ALL_BUT_SOME,
        seed=7,
    ),
    _attention(
        "dropout, learned mask", normal(2, 5, 4), normal(2, 7, 4), normal(2, 7, 4), normal(5, 7), dropout_p=0.2, seed=8
    ),
    _attention("dropout with p = 1", normal(2, 3, 4), normal(2, 3, 4), normal(2, 3, 4), dropout_p=1.0, seed=9),
    _attention("no batch", normal(0, 2, 3, 4), normal(0, 2, 3, 4), normal(0, 2, 3, 4)),
    _attention("no heads", normal(2, 0, 3, 4), normal(2, 1, 3, 4), normal(2, 1, 3, 4)),
    _attention("no queries", normal(2, 0, 4), normal(2, 3, 4), normal(2, 3, 4), is_causal=True),
    _attention("no keys", normal(2, 3, 4), normal(2, 0, 4), normal(2, 0, 4)),
    _attention("no values", normal(2, 3, 4), normal(2, 3, 4), normal(2, 3, 0)),
]
