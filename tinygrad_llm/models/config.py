"""The base class of the configs of all models."""

from __future__ import annotations

from dataclasses import dataclass

from tinygrad_llm.settings import Settings


@dataclass(frozen=True)
class ModelConfig(Settings):
    """The base class of a model's config: its settings, as a run's config.json records them."""
