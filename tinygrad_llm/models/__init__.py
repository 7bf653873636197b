"""The models, each standing on the same blocks."""

from typing import Any

from tinygrad_llm.errors import ConfigError
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


def model_type_of(model: object) -> str:
    """The name under which a run folder's config knows this kind of model. Raises: ConfigError for any other"""
    for name, (kind, _) in MODELS.items():
        if kind is type(model):
            return name
    raise ConfigError(f"models are of the types {', '.join(MODELS)}; got a {type(model).__name__}")


__all__ = [
    "GPT",
    "MODELS",
    "Bert",
    "BertConfig",
    "EncoderDecoder",
    "EncoderDecoderConfig",
    "GPTConfig",
    "LanguageModel",
    "Llama",
    "LlamaConfig",
    "model_type_of",
]
