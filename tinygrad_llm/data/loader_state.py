"""The checks before a loader continues from a saved state; loaded on first use, when a run is resumed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from tinygrad_llm.errors import ConfigError


def expect_state_of(owner: str, state: Any, now: Mapping[str, Any], unchanged: Sequence[str]) -> None:
    """Raises ConfigError unless `state` has the keys of the loader's state `now`, and equal values for `unchanged`."""
    missing = now.keys() - state.keys() if isinstance(state, Mapping) else now.keys()
    if missing:
        raise ConfigError(f"{owner}.set_state: needs what state() gave; {', '.join(sorted(missing))} is missing")
    for name in unchanged:
        if state[name] != now[name]:
            raise ConfigError(
                f"{owner}.set_state: {name} must be what it was, {state[name]}; got {now[name]}: "
                "resume with the same data and settings"
            )
    if type(state["batches"]) is not int or state["batches"] < 0:
        raise ConfigError(f"{owner}.set_state: batches must be an integer of at least 0; got {state['batches']!r}")
