"""The bounds of a server."""

from __future__ import annotations

from dataclasses import dataclass

from tinygrad_llm.settings import Settings, setting


@dataclass(frozen=True)
class ServingSettings(Settings):
    """How much a server does at once, and for how long. Raises ConfigError naming the setting outside its range."""

    max_batch: int = setting(8, "texts that are decoded together", least=1, most=64)
    max_waiting: int = setting(32, "requests that may wait for their turn; more are refused with status 429", least=0)
    max_seconds: float = setting(
        600.0, "time of a request, in seconds; an answer that takes longer is cut off", above=0, most=1_000_000.0
    )
