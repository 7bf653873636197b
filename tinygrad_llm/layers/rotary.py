"""Rotary positions (RoPE): queries and keys are rotated by their positions, so that a score depends on the distance."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from tinygrad_llm.arrays import Array
from tinygrad_llm.checks import expect_sizes, is_number
from tinygrad_llm.errors import ConfigError
from tinygrad_llm.functions.rotary import rotate
from tinygrad_llm.layers.rotary_scaling import rotary_magnitude, scaled_frequencies
from tinygrad_llm.nn.module import Module
from tinygrad_llm.tensor import Tensor


def rotary_frequencies(head_dim: int, base: float = 10000.0, scaling: Mapping[str, Any] | None = None) -> Array:
    """The rotation speed of each pair of features (Su et al. 2021, arXiv:2104.09864). Units: radians per token.

        w_i = base^(-2i / head_dim),  i = 0 .. head_dim / 2 - 1

    `scaling` extends a model to longer texts than those that it was trained on: see `rotary_scaling`.

    >>> rotary_frequencies(4)
    array([1.  , 0.01])

    Shapes: -> (head_dim / 2,), float64
    Raises: ConfigError for an odd head_dim, a base that is not above 0, or a scaling that is not one of the known
    """
    expect_sizes("rotary_frequencies", head_dim=head_dim)
    if head_dim % 2:
        raise ConfigError(
            f"rotary_frequencies: head_dim must be even, since features are rotated in pairs; got {head_dim}"
        )
    if not is_number(base) or not 0 < base < math.inf:
        raise ConfigError(f"rotary_frequencies: base must be a finite number above 0; got {base!r}")
    frequencies = float(base) ** (-np.arange(0, head_dim, 2) / head_dim)
    return frequencies if scaling is None else scaled_frequencies(frequencies, base, scaling)


class RotaryPositions(Module):
    """Rotate each token's pairs of features by its position times `rotary_frequencies` (Su et al. 2021,
    arXiv:2104.09864), in all `tensors` alike; with YaRN also multiplied by `rotary_magnitude`.

    Angles are computed in float64 and rounded once, so that late positions are as exact as early ones.

    Shapes: positions (T,) or (B, T) integers, tensors (B, H, T, D) or (H, T, D) -> their shapes
    Raises: ConfigError as `rotary_frequencies`
    """

    def __init__(self, head_dim: int, base: float = 10000.0, scaling: Mapping[str, Any] | None = None) -> None:
        self.head_dim = head_dim
        self.magnitude = rotary_magnitude(scaling)
        self.frequencies = rotary_frequencies(head_dim, base, scaling)  # not in the state dict: a formula gives it

    def forward(self, positions: Any, *tensors: Tensor) -> tuple[Tensor, ...]:
        angles = np.asarray(positions)[..., None, :, None] * self.frequencies  # the same for all heads
        cos, sin = self.magnitude * np.cos(angles), self.magnitude * np.sin(angles)
        return tuple(rotate(x, cos, sin) for x in tensors)

    def extra_repr(self) -> str:
        return f"head_dim={self.head_dim}"
