"""The ids that a text begins with: those of its prompt, or those that stand for none."""

from __future__ import annotations

from tinygrad_llm.data.padding import begin_ids
from tinygrad_llm.errors import TokenizerError
from tinygrad_llm.text import Tokenizer


def prompt_ids(tokenizer: Tokenizer, text: str) -> list[int]:
    """The ids of a text to continue, special tokens included, after those that the tokenizer puts before every text.

    A text that begins with these tokens itself is not given them twice. Without any id, those of `start_ids`.

    Raises: TokenizerError for a text that is not in the vocabulary
    """
    before, ids = begin_ids(tokenizer), tokenizer.encode(text, allowed_special="all")
    if ids[: len(before)] != before:
        ids = before + ids
    return ids or start_ids(tokenizer)


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
