"""Adding special tokens to a trained model and its tokenizer."""

from collections.abc import Iterable
from typing import TypeVar

from tinygrad_llm.errors import ConfigError
from tinygrad_llm.models import LanguageModel
from tinygrad_llm.random import Generator
from tinygrad_llm.text import BPETokenizer
from tinygrad_llm.text.pipeline import PipelineTokenizer

T = TypeVar("T", BPETokenizer, PipelineTokenizer)


def extend_vocabulary(
    model: LanguageModel, tokenizer: T, names: Iterable[str], generator: Generator | None = None
) -> T:
    """The tokenizer with new special tokens at its end. Old ids keep their meaning.

    The model's embedding and head are resized in place by `resize_token_embeddings`, if they have no spare rows. Make
    the optimizer afterwards.

    Raises: TokenizerError for names that are not new, ConfigError if the model has fewer rows than the tokenizer has
            tokens, or its head was replaced
    """
    if tokenizer.vocab_size > model.config.vocab_size:
        raise ConfigError(
            f"extend_vocabulary: the model must have a row for each of the tokenizer's {tokenizer.vocab_size} tokens; "
            f"it has {model.config.vocab_size}: use the tokenizer that the model was trained with"
        )
    extended = tokenizer.with_special_tokens(names)
    if extended.vocab_size > model.config.vocab_size:
        model.resize_token_embeddings(extended.vocab_size, generator)
    return extended
