"""The models, each standing on the same blocks."""

from typing import Any

from tinygrad_llm.models.encoder_decoder import EncoderDecoder, EncoderDecoderConfig
from tinygrad_llm.models.gpt import GPT, GPTConfig

MODELS: dict[str, tuple[Any, Any]] = {  # what a run folder's config names
    "gpt": (GPT, GPTConfig),
    "encoder-decoder": (EncoderDecoder, EncoderDecoderConfig),
}

__all__ = ["GPT", "MODELS", "EncoderDecoder", "EncoderDecoderConfig", "GPTConfig"]
