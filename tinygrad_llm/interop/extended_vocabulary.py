"""New special tokens for a model that has learned without them."""

from collections.abc import Iterable

from tinygrad_llm.errors import ConfigError
from tinygrad_llm.models import LanguageModel
from tinygrad_llm.random import Generator
from tinygrad_llm.text import BPETokenizer


def extend_vocabulary(
    model: LanguageModel, tokenizer: BPETokenizer, names: Iterable[str], generator: Generator | None = None
) -> BPETokenizer:
    """The tokenizer with new special tokens at its end, for which the model gets rows where it has none to spare.

    The model's embedding and head, shared or not, are changed in place, as `LanguageModel.resize_token_embeddings`
    does; old ids mean what they did. Make the optimizer afterwards.

    Raises: TokenizerError for names that are not new, ConfigError where the model is too small for the tokenizer as it
            is or its head was replaced
    """
    if tokenizer.vocab_size > model.config.vocab_size:
        raise ConfigError(
            f"extend_vocabulary: the model must have a row for each of the tokenizer's {tokenizer.vocab_size} tokens; "
            f"it has {model.config.vocab_size}: they do not belong together"
        )
    extended = tokenizer.with_special_tokens(names)
    if extended.vocab_size > model.config.vocab_size:
        model.resize_token_embeddings(extended.vocab_size, generator)
    return extended
