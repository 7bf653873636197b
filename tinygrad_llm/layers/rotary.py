"""Rotary positions (RoPE): queries and keys are rotated by their positions, so that a score depends on the distance."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from tinygrad_llm.arrays import Array
from tinygrad_llm.checks import expect_sizes
from tinygrad_llm.errors import ConfigError
from tinygrad_llm.functions.rotary import rotate
from tinygrad_llm.nn.module import Module
from tinygrad_llm.tensor import Tensor

LLAMA3_SCALING = ("factor", "low_freq_factor", "high_freq_factor", "original_context_length")


def rotary_frequencies(head_dim: int, base: float = 10000.0, scaling: Mapping[str, float] | None = None) -> Array:
    """The rotation speed of each pair of features (Su et al. 2021, arXiv:2104.09864). Units: radians per token.

        w_i = base^(-2i / head_dim),  i = 0 .. head_dim / 2 - 1

    `scaling` extends a model that was trained on `original_context_length` tokens to longer texts, as in Llama 3.1
    (Grattafiori et al. 2024, arXiv:2407.21783): pairs that make more than `high_freq_factor` turns within the original
    context keep their speed; those that make fewer than `low_freq_factor` become `factor` times slower; in between, the
    two speeds are interpolated linearly in the number of turns.

    >>> rotary_frequencies(4)
    array([1.  , 0.01])

    Shapes: -> (head_dim / 2,), float64
    Raises: ConfigError for an odd head_dim, a base that is not above 0, or a scaling without exactly these four
    """
    expect_sizes("rotary_frequencies", head_dim=head_dim)
    if head_dim % 2:
        raise ConfigError(
            f"rotary_frequencies: head_dim must be even, since features are rotated in pairs; got {head_dim}"
        )
    if not _is_positive(base):
        raise ConfigError(f"rotary_frequencies: base must be a finite number above 0; got {base!r}")
    frequencies = float(base) ** (-np.arange(0, head_dim, 2) / head_dim)
    if scaling is None:
        return frequencies
    if not isinstance(scaling, Mapping) or set(scaling) != set(LLAMA3_SCALING):
        raise ConfigError(f"rotary_frequencies: scaling must have {', '.join(LLAMA3_SCALING)}; got {scaling!r}")
    factor, low, high, original = (scaling[name] for name in LLAMA3_SCALING)
    if not all(map(_is_positive, (factor, low, high, original))) or not low < high:
        raise ConfigError(
            f"rotary_frequencies: scaling must have numbers above 0, and low_freq_factor below high_freq_factor; "
            f"got {dict(scaling)!r}"
        )
    turns = original * frequencies / (2 * math.pi)
    kept = np.clip((turns - low) / (high - low), 0.0, 1.0)
    return frequencies * (kept + (1 - kept) / factor)


def _is_positive(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 < value < math.inf


class RotaryPositions(Module):
    """Rotate each token's pairs of features by its position times `rotary_frequencies` (Su et al. 2021,
    arXiv:2104.09864), in all `tensors` alike.

    Angles are computed in float64 and rounded once, so that late positions are as exact as early ones.

    Shapes: positions (T,) or (B, T) integers, tensors (B, H, T, D) or (H, T, D) -> their shapes
    Raises: ConfigError as `rotary_frequencies`
    """

    def __init__(self, head_dim: int, base: float = 10000.0, scaling: Mapping[str, float] | None = None) -> None:
        self.head_dim = head_dim
        self.frequencies = rotary_frequencies(head_dim, base, scaling)  # not in the state dict: a formula gives it

    def forward(self, positions: Any, *tensors: Tensor) -> tuple[Tensor, ...]:
        angles = np.asarray(positions)[..., None, :, None] * self.frequencies  # the same for all heads
        cos, sin = np.cos(angles), np.sin(angles)
        return tuple(rotate(x, cos, sin) for x in tensors)

    def extra_repr(self) -> str:
        return f"head_dim={self.head_dim}"
