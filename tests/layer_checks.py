"""What the tests of several layers share."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from tinygrad_llm import Generator, Tensor, gradcheck, nn, no_grad
from tinygrad_llm.arrays import Array


def randn(*shape: int, seed: int = 0) -> Array:
    """Standard normal numbers, float64."""
    return Generator(seed).randn(*shape).astype(np.float64)


def every_gradient_of(layer: nn.Module, *inputs: Array, **options: Any) -> bool:
    """Whether finite differences agree with the gradient of every input and every parameter."""
    layer.to(np.float64)
    tensors = [Tensor(x, requires_grad=True) for x in inputs]
    return gradcheck(lambda *x: layer(*x, **options), tensors, parameters=dict(layer.named_parameters())).ok


def assert_a_cache_changes_nothing(layer: Any, batch: int, cuts: Sequence[int]) -> None:
    """Nine tokens read in parts, cut at `cuts`, through a cache: equal to all read at once.

    The last text of the batch has two tokens of padding on its left.
    """
    x = randn(batch, 9, layer.query.in_features)
    mask = np.ones((batch, 1, 1, 9), bool)
    mask[-1, ..., :2] = False
    positions = np.maximum(np.arange(9) - np.array([0] * (batch - 1) + [2])[:, None], 0)
    with no_grad():
        whole = layer(x, mask=mask, positions=positions).data
        cache, parts = nn.LayerCache(9), []
        for start, stop in zip([0, *sorted(cuts)], [*sorted(cuts), 9], strict=True):
            if stop > start:
                options = {"mask": mask[..., :stop], "positions": positions[:, start:stop]}
                parts.append(layer(x[:, start:stop], cache=cache, **options).data)
    np.testing.assert_allclose(np.concatenate(parts, axis=1), whole, atol=1e-12)
