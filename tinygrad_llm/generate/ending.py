"""The ids that end a text."""

from __future__ import annotations

from collections.abc import Collection
from typing import TypeAlias

import numpy as np

from tinygrad_llm.errors import ConfigError

EndOfText: TypeAlias = "int | Collection[int] | None"


def end_ids(owner: str, eos_id: EndOfText) -> frozenset[int]:
    """`eos_id` as a set of ids. Raises ConfigError for anything else than ids of at least 0."""
    if eos_id is None:
        return frozenset()
    several = eos_id if isinstance(eos_id, Collection) else [eos_id]
    for one in several:
        if not isinstance(one, int | np.integer) or isinstance(one, bool) or one < 0:
            raise ConfigError(f"{owner}: eos_id must be an id, a collection of ids, or None; got {eos_id!r}")
    return frozenset(int(one) for one in several)
