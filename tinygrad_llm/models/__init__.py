"""The models, each standing on the same blocks."""

from typing import Any

from tinygrad_llm.models.bert import Bert, BertConfig
from tinygrad_llm.models.encoder_decoder import EncoderDecoder, EncoderDecoderConfig
from tinygrad_llm.models.gpt import GPT, GPTConfig
from tinygrad_llm.models.language_model import LanguageModel
from tinygrad_llm.models.llama import Llama, LlamaConfig

MODELS: dict[str, tuple[Any, Any]] = {  # what a run folder's config names
    "gpt": (GPT, GPTConfig),
    "llama": (Llama, LlamaConfig),
    "bert": (Bert, BertConfig),
    "encoder-decoder": (EncoderDecoder, EncoderDecoderConfig),
}

__all__ = [
    "GPT", "MODELS", "Bert", "BertConfig", "EncoderDecoder", "EncoderDecoderConfig", "GPTConfig", "LanguageModel",
    "Llama", "LlamaConfig",
]  # fmt: skip
