"""The one check that all layers share: sizes are whole numbers of at least 1."""

from __future__ import annotations

import numpy as np

from tinygrad_llm.errors import ConfigError


def expect_sizes(owner: str, **sizes: int) -> None:
    """Raises ConfigError naming the size that is not an integer of at least 1."""
    for name, size in sizes.items():
        if not isinstance(size, int | np.integer) or isinstance(size, bool) or size < 1:
            raise ConfigError(f"{owner}: {name} must be an integer of at least 1; got {size!r}")
