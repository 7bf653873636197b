"""Layers, heads and embedding size for a model of about a given number of parameters.

Rule: the head size is 32. For each number of layers, the embedding size is the multiple of 32 whose parameter count is
nearest to the wanted one. Among the models within 15% of the wanted count, the one whose embedding size is nearest to
64 times its layers is taken, as in GPT-2 small (12 layers, size 768); if none is within 15%, the nearest.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from tinygrad_llm.architectures import Architecture
from tinygrad_llm.errors import ConfigError

HEAD = 32  # size of an attention head
WIDTH_PER_LAYER = 64
MOST_LAYERS = 96
TOLERANCE = 0.15
SET_BY_SIZE = ("num_layers", "num_heads", "embedding_dim")


def sizes_for(architecture: Architecture, settings: Mapping[str, Any], parameters: int) -> dict[str, int]:
    """The settings of SET_BY_SIZE for a model of about so many parameters; `settings` are the others.

    Raises: ConfigError if even the smallest model is more than twice as large
    """

    def count(layers: int, width: int) -> int:
        sizes = {"num_layers": layers, "num_heads": width // HEAD, "embedding_dim": width}
        return architecture.parameters(architecture.config_from({**settings, **sizes}))

    smallest = count(1, HEAD)
    if smallest > 2 * parameters:
        raise ConfigError(
            f"--size must be at least {smallest // 2:,} with this vocabulary and context; got {parameters:,}"
        )
    candidates = [(layers, _nearest_width(count, layers, parameters)) for layers in range(1, MOST_LAYERS + 1)]
    close = [one for one in candidates if abs(count(*one) / parameters - 1) <= TOLERANCE]
    if close:
        layers, width = min(close, key=lambda one: abs(math.log(one[1] / (WIDTH_PER_LAYER * one[0]))))
    else:
        layers, width = min(candidates, key=lambda one: abs(count(*one) - parameters))
    return {"num_layers": layers, "num_heads": width // HEAD, "embedding_dim": width}


def _nearest_width(count: Any, layers: int, parameters: int) -> int:
    """The multiple of HEAD whose model is nearest to the number of parameters; the count grows with the width."""
    low, high = 1, 2
    while count(layers, high * HEAD) < parameters:
        low, high = high, 2 * high
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if count(layers, middle * HEAD) < parameters else (low, middle)
    return HEAD * min((low, high), key=lambda heads: abs(count(layers, heads * HEAD) - parameters))
