"""Rounding in float32, against float64 of the same float32 inputs: rows that share an offset, and rows of any scale.

The error is relative to the largest number of the result. One addition of a large offset would cost the digits that the
gradient is made of; a maximum, a mean or a sum must therefore be subtracted before anything is added to it.
"""

import itertools
from typing import Any

import numpy as np
import pytest

from tinygrad_llm import Tensor
from tinygrad_llm.functions import rms_norm
from tinygrad_llm.nn import functional as F
from tinygrad_llm.ops import FUSED, composed_ops

ROWS, WIDTH = 6, 16
TARGETS = np.array([1, 3, 0, 2, 5, 7])
OFFSETS = (0.0, 1e2, 1e4, 1e6)
SCALES = (1.0, 1e2, 1e4, 1e6)
SMOOTH = 0.1


def ones(like: Tensor) -> Tensor:
    return Tensor(np.ones(like.shape[-1], like.dtype))


OPS = {
    "cross_entropy": lambda x: F.cross_entropy(x, TARGETS),
    "cross_entropy, smooth": lambda x: F.cross_entropy(x, TARGETS, label_smoothing=SMOOTH),
    "cross_entropy, each": lambda x: F.cross_entropy(x, TARGETS, reduction="none"),
    "softmax": F.softmax,
    "log_softmax": F.log_softmax,
    "logsumexp": lambda x: x.logsumexp(-1),
    "layer_norm": lambda x: F.layer_norm(x, ones(x)),
    "rms_norm": lambda x: rms_norm(x, ones(x)),
    "var": lambda x: x.var(-1),
    "gelu": lambda x: F.gelu(x, "tanh"),
}
ALLOWED = 1e-6


def errors(function: Any, x: np.ndarray, least: float = 1e-30) -> tuple[float, float]:
    """The errors of value and gradient in float32, relative to the largest number, or to `least` if that is more.

    A saturated softmax has a gradient near 0 as the difference of numbers near dy, so its `least` is that of dy, 1.
    """
    results = []
    for dtype in (np.float32, np.float64):
        t = Tensor(x.astype(dtype), requires_grad=True)
        y = function(t)
        y.backward(np.cos(np.arange(y.size, dtype=dtype)).reshape(y.shape))
        results.append((y.data.astype(np.float64), t.grad.astype(np.float64)))
    pairs = zip(*results, strict=True)
    value, gradient = (float(np.abs(a - b).max() / max(np.abs(b).max(), least)) for a, b in pairs)
    return value, gradient


@pytest.mark.parametrize("side", ["fused", "composed"])
@pytest.mark.parametrize("name", OPS)
def test_offsets_and_scales(name: str, side: str) -> None:
    rng = np.random.default_rng(0)
    worst = {}
    least = 1.0 if name == "softmax" else 1e-30
    for offset, scale in itertools.product(OFFSETS, SCALES):
        x = (rng.normal(size=(ROWS, WIDTH)) * scale + offset).astype(np.float32)
        if side == "composed":
            with composed_ops():
                worst[offset, scale] = errors(OPS[name], x, least)
        else:
            worst[offset, scale] = errors(OPS[name], x, least)
    too_large = {case: error for case, error in worst.items() if max(error) > ALLOWED}
    assert too_large == {}


@pytest.mark.parametrize("side", ["fused", "composed"])
@pytest.mark.parametrize("scale", SCALES)
def test_linear_cross_entropy_on_the_same_logits(scale: float, side: str) -> None:
    """With the identity as its weight the logits are x itself, bit for bit."""
    op = getattr(FUSED["linear_cross_entropy"], side)
    rng = np.random.default_rng(1)
    for offset in OFFSETS:
        x = (rng.normal(size=(ROWS, WIDTH)) * scale + offset).astype(np.float32)
        value, gradient = errors(lambda t: op(t, Tensor(np.eye(WIDTH, dtype=t.dtype)), TARGETS), x)
        assert max(value, gradient) <= ALLOWED, offset


@pytest.mark.parametrize("side", ["fused", "composed"])
@pytest.mark.parametrize("scale", SCALES)
def test_attention_on_the_same_scores(scale: float, side: str) -> None:
    """Keys that are the identity make the scores the queries themselves, bit for bit."""
    op = getattr(FUSED["scaled_dot_product_attention"], side)
    rng = np.random.default_rng(2)
    values = rng.normal(size=(1, 1, WIDTH, 4)).astype(np.float32)
    for offset in OFFSETS:
        q = (rng.normal(size=(1, 1, ROWS, WIDTH)) * scale + offset).astype(np.float32)

        def attend(t: Tensor) -> Tensor:
            return op(t, Tensor(np.eye(WIDTH, dtype=t.dtype)[None, None]), Tensor(values.astype(t.dtype)), scale=1.0)

        value, gradient = errors(attend, q, least=1.0)
        assert value <= ALLOWED, offset
        assert gradient <= ALLOWED, offset
