"""The models, all built from the same blocks. Each is imported when it is first used."""

from typing import TYPE_CHECKING

from tinygrad_llm.lazy import lazy_imports

if TYPE_CHECKING:
    from tinygrad_llm.architectures import load_pretrained, save_pretrained
    from tinygrad_llm.models.bert import Bert, BertConfig
    from tinygrad_llm.models.classifier import Classifier, ClassifierConfig
    from tinygrad_llm.models.encoder_decoder import EncoderDecoder, EncoderDecoderConfig
    from tinygrad_llm.models.gpt import GPT, GPTConfig
    from tinygrad_llm.models.language_model import LanguageModel
    from tinygrad_llm.models.llama import Llama, LlamaConfig
    from tinygrad_llm.models.opt import OPT, OPTConfig
    from tinygrad_llm.models.reward_model import RewardModel, RewardModelConfig
    from tinygrad_llm.models.vocabulary import resize_token_embeddings

__getattr__, __dir__ = lazy_imports(__name__)

__all__ = ["GPT", "OPT", "Bert", "BertConfig", "Classifier", "ClassifierConfig", "EncoderDecoder"]
__all__ += ["EncoderDecoderConfig", "GPTConfig", "LanguageModel", "Llama", "LlamaConfig", "OPTConfig", "RewardModel"]
__all__ += ["RewardModelConfig", "load_pretrained", "resize_token_embeddings", "save_pretrained"]
