"""The models, each standing on the same blocks."""

from typing import Any

from tinygrad_llm.models.gpt import GPT, GPTConfig

MODELS: dict[str, tuple[Any, Any]] = {"gpt": (GPT, GPTConfig)}  # what a run folder's config names

__all__ = ["GPT", "MODELS", "GPTConfig"]
