"""Padding: rows of different lengths as one array."""

from collections.abc import Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from tinygrad_llm.errors import DataError, IdRangeError, TokenizerError
from tinygrad_llm.formats.strict_json import shown

END_OF_TEXT_ID = 50256  # GPT-2's `<|endoftext|>`, which the book pads with
IGNORE_INDEX = -100  # a target that the loss ignores


class Encoder(Protocol):
    """The method that a dataset needs of a tokenizer; tiktoken's encodings have it too."""

    def encode_ordinary(self, text: str, /) -> list[int]: ...


def begin_ids(tokenizer: Encoder) -> list[int]:
    """The ids that the tokenizer's template puts before every text, such as Llama's `<s>`; none for most tokenizers."""
    before, _ = getattr(tokenizer, "template", ([], []))
    return list(before)


def encode_whole(tokenizer: Encoder, text: str, longest: int | None = None) -> list[int]:
    """The ids of a whole text, at most `longest`, between `[CLS]` and `[SEP]` if the tokenizer has them.

    A text without tokens has no ids, not even `[CLS]` and `[SEP]`.

    Raises: TokenizerError naming a text with a character that the tokenizer cannot encode
    """
    try:
        ids = tokenizer.encode_ordinary(text)
    except TokenizerError as error:
        raise TokenizerError(f"in the text {shown(text)}, {error}") from None
    frame = getattr(tokenizer, "framed", None)  # tiktoken's encodings have none
    return ids[:longest] if frame is None or not ids else frame(ids, longest)


def expect_length(text: str, count: int, most: int) -> None:
    """Raises: DataError unless the text has 1 to `most` tokens, which fit a model's context"""
    if not count:
        raise DataError(f"a text must have at least one token; {shown(text)} has none")
    if count > most:
        raise DataError(
            f"a text must have at most {most} tokens, to fit the model's context; {shown(text)} has {count}: shorten "
            "it, or train a model with a larger context length"
        )


def pad_right(rows: Sequence[Sequence[int]], width: int, pad_id: int = END_OF_TEXT_ID) -> NDArray[np.int64]:
    """Each row cut after `width` ids, or filled with `pad_id` up to `width`.

    Shapes: B rows (T_i,) -> (B, width)
    Raises: IdRangeError for a negative pad_id

    >>> pad_right([[1, 2, 3], [4]], width=2, pad_id=0)
    array([[1, 2],
           [4, 0]])
    """
    if pad_id < 0:
        raise IdRangeError(f"pad_right: pad_id must be a token id of at least 0; got {pad_id}")
    padded = np.full((len(rows), width), pad_id, np.int64)
    for line, row in zip(padded, rows, strict=True):
        line[: len(row)] = row[:width]
    return padded
