"""The models, each standing on the same blocks."""

from tinygrad_llm.models.gpt import GPT, GPTConfig

__all__ = ["GPT", "GPTConfig"]
