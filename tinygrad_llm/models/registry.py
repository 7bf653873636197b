"""The models by the names that a run folder's config gives them."""

from typing import Any

from tinygrad_llm.errors import ConfigError
from tinygrad_llm.models.bert import Bert, BertConfig
from tinygrad_llm.models.classifier import Classifier, ClassifierConfig
from tinygrad_llm.models.encoder_decoder import EncoderDecoder, EncoderDecoderConfig
from tinygrad_llm.models.gpt import GPT, GPTConfig
from tinygrad_llm.models.llama import Llama, LlamaConfig

MODELS: dict[str, tuple[Any, Any]] = {
    "gpt": (GPT, GPTConfig),
    "llama": (Llama, LlamaConfig),
    "bert": (Bert, BertConfig),
    "encoder-decoder": (EncoderDecoder, EncoderDecoderConfig),
    "classifier": (Classifier.from_config, ClassifierConfig),
}


def model_type_of(model: object) -> str:
    """The name under which a run folder's config knows this kind of model. Raises: ConfigError for any other"""
    for name, (kind, _) in MODELS.items():
        if kind is type(model):
            return name
    raise ConfigError(f"models are of the types {', '.join(MODELS)}; got a {type(model).__name__}")
