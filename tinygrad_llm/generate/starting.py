"""The ids that begin a new text without a prompt."""

from __future__ import annotations

from tinygrad_llm.data.padding import begin_ids
from tinygrad_llm.errors import TokenizerError
from tinygrad_llm.text import Tokenizer


def prompt_ids(tokenizer: Tokenizer, text: str) -> list[int]:
    """The ids of a text to continue, special tokens included, after those that the tokenizer puts before every text."""
    return begin_ids(tokenizer) + tokenizer.encode(text, allowed_special="all") or start_ids(tokenizer)


def start_ids(tokenizer: Tokenizer) -> list[int]:
    """The end-of-text token if the vocabulary has one, else a newline if it can be encoded, else the first token."""
    if tokenizer.end_of_text is not None:
        return [tokenizer.end_of_text]
    return ids_if_known(tokenizer, "\n") or [0]


def ids_if_known(tokenizer: Tokenizer, text: str) -> list[int]:
    """The ids of `text`; none if the vocabulary lacks a character or word of it."""
    try:
        return tokenizer.encode_ordinary(text)
    except TokenizerError:
        return []
