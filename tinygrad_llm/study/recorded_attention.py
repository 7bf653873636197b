"""The weights of every attention of a forward, layer by layer, with the products that they come from."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np

from tinygrad_llm.arrays import Array
from tinygrad_llm.ops.attention import repeat_heads
from tinygrad_llm.ops.dispatch import intercept
from tinygrad_llm.study.attention_weights import watch_attention_weights
from tinygrad_llm.tensor import Tensor


@dataclass
class AttentionCall:
    """One layer's attention: the products q · k before scaling, the scale, and the weights, which keep their gradient.

    Shapes: products and weights (B, H, T, S), or (H, T, S)
    """

    products: Array
    scale: float
    weights: Tensor

    @property
    def shares(self) -> Array:
        """The weights of the first sequence. Shapes: -> (H, T, S)"""
        return _first(self.weights.data)

    @property
    def scores(self) -> Array:
        """What the softmax gets, without the mask. Shapes: -> (H, T, S)"""
        return _first(self.products) * self.scale

    @property
    def gradient(self) -> Array:
        """dL/d(weights), 0 where the loss does not depend on them. Shapes: -> (H, T, S)"""
        grad = self.weights.grad
        return _first(np.zeros_like(self.weights.data) if grad is None else grad)


@contextmanager
def recorded_attention() -> Iterator[list[AttentionCall]]:
    """Record every attention of this thread; the list has one call per layer, in the order of the layers."""
    calls: list[AttentionCall] = []
    products: list[tuple[Array, float]] = []

    def keep_products(op_name: str, call: Callable[..., Tensor], *args: Any, **kwargs: Any) -> Tensor:
        if op_name == "scaled_dot_product_attention":
            query, key, scale = args[0], args[1], kwargs.get("scale")
            q_times_k = query.data @ repeat_heads(key, query.shape[-3]).data.swapaxes(-1, -2)
            products.append((q_times_k, 1 / math.sqrt(query.shape[-1]) if scale is None else scale))
        return call(*args, **kwargs)

    def keep(weights: Tensor) -> Tensor:
        if weights.requires_grad:
            weights.retain_grad()
        calls.append(AttentionCall(*products.pop(), weights))
        return weights

    with intercept(keep_products), watch_attention_weights(keep):
        yield calls


def _first(x: Array) -> Array:
    return x.reshape(-1, *x.shape[-3:])[0]
