"""The models, all built from the same blocks. Each is imported when it is first used."""

from typing import TYPE_CHECKING

from tinygrad_llm.lazy import lazy_names

if TYPE_CHECKING:
    from tinygrad_llm.interop.huggingface_folder import load_pretrained, save_pretrained
    from tinygrad_llm.models.bert import Bert, BertConfig
    from tinygrad_llm.models.classifier import Classifier, ClassifierConfig
    from tinygrad_llm.models.encoder_decoder import EncoderDecoder, EncoderDecoderConfig
    from tinygrad_llm.models.gpt import GPT, GPTConfig
    from tinygrad_llm.models.language_model import LanguageModel
    from tinygrad_llm.models.llama import Llama, LlamaConfig
    from tinygrad_llm.models.registry import MODELS, model_type_of
    from tinygrad_llm.models.vocabulary import resize_token_embeddings

__getattr__, __dir__ = lazy_names(
    __name__,
    {
        "tinygrad_llm.models.bert": ("Bert", "BertConfig"),
        "tinygrad_llm.models.classifier": ("Classifier", "ClassifierConfig"),
        "tinygrad_llm.models.encoder_decoder": ("EncoderDecoder", "EncoderDecoderConfig"),
        "tinygrad_llm.models.gpt": ("GPT", "GPTConfig"),
        "tinygrad_llm.models.language_model": ("LanguageModel",),
        "tinygrad_llm.models.llama": ("Llama", "LlamaConfig"),
        "tinygrad_llm.models.registry": ("MODELS", "model_type_of"),
        "tinygrad_llm.models.vocabulary": ("resize_token_embeddings",),
        # The bodies of the methods `from_pretrained` and `save_pretrained`.
        "tinygrad_llm.interop.huggingface_folder": ("load_pretrained", "save_pretrained"),
    },
)

__all__ = [
    "GPT",
    "MODELS",
    "Bert",
    "BertConfig",
    "Classifier",
    "ClassifierConfig",
    "EncoderDecoder",
    "EncoderDecoderConfig",
    "GPTConfig",
    "LanguageModel",
    "Llama",
    "LlamaConfig",
    "load_pretrained",
    "model_type_of",
    "resize_token_embeddings",
    "save_pretrained",
]
