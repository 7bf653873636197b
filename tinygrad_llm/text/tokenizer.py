"""The interface of every tokenizer: text to ids and back.

Each id represents a few bytes, and a text is a row of ids. The tokenizers differ in the unit of one id: a character
(characters.py), a word (words.py), or bytes joined by byte pair encoding (plain_bpe.py, then bpe.py).
"""

from __future__ import annotations

import hashlib
import json
import os
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tinygrad_llm.errors import DTypeError, IdRangeError, ShapeError
from tinygrad_llm.text.special_tokens import (
    END_OF_TEXT,
    FRAME,
    AllowedSpecial,
    expect_allowed,
    split_at_special_tokens,
)

# Not `tokenizer.json`: that is Hugging Face's file, which may lie in the same folder.
TOKENIZER_FILE = "tinygrad_tokenizer.json"


class Tokenizer(ABC):
    """Base class of tokenizers. A subclass has a `kind`, `encode_ordinary`, `state` and `from_state`."""

    kind: ClassVar[str]

    def __init__(self, tokens: list[bytes], special_tokens: dict[str, int]) -> None:
        """`tokens` are the bytes of each token in the order of ids; `special_tokens` maps the special ones to ids."""
        self._tokens = tokens
        self._special_tokens = special_tokens

    @property
    def vocab_size(self) -> int:
        """The number of ids, special tokens included; ids run from 0 to vocab_size - 1."""
        return len(self._tokens)

    @property
    def special_tokens(self) -> dict[str, int]:
        """The special tokens and their ids (see special_tokens.py)."""
        return dict(self._special_tokens)

    @property
    def end_of_text(self) -> int | None:
        """The id of `<|endoftext|>`, or None if the vocabulary has none."""
        return self._special_tokens.get(END_OF_TEXT)

    @property
    def id_dtype(self) -> type[np.uint16] | type[np.uint32]:
        """The smaller of uint16 and uint32 that holds every id: uint16 for vocabularies up to 65,536."""
        return np.uint16 if self.vocab_size <= 1 << 16 else np.uint32

    @abstractmethod
    def encode_ordinary(self, text: str) -> list[int]:
        """The ids of `text`; the text of a special token is encoded as ordinary text.

        Raises: TokenizerError if the text is no str, not valid Unicode, or not in the vocabulary
        """

    def encode(self, text: str, allowed_special: AllowedSpecial = ()) -> list[int]:
        """The ids of `text`, with special tokens where they are allowed (see special_tokens.py).

        Raises: TokenizerError for a special token that is not allowed, and as `encode_ordinary`
        """
        allowed = expect_allowed(text, self._special_tokens, allowed_special)
        ids: list[int] = []
        for index, part in enumerate(split_at_special_tokens(text, allowed)):
            if index % 2:
                ids.append(self._special_tokens[part])
            else:
                ids.extend(self.encode_ordinary(part))
        return ids

    def encode_to_array(self, text: str, allowed_special: AllowedSpecial = ()) -> NDArray[Any]:
        """The ids of `encode` as an array of `id_dtype`. Shapes: -> (T,)"""
        return np.array(self.encode(text, allowed_special), dtype=self.id_dtype)

    def decode(self, ids: ArrayLike) -> str:
        """The text of a row of ids; bytes that are not valid UTF-8 become U+FFFD.

        Shapes: ids (T,): a list, or an array or Tensor of integers
        Raises: IdRangeError for an id outside the vocabulary, DTypeError for ids that are not integers, ShapeError for
                another number of axes than one
        """
        tokens = self._tokens
        row = expect_id_row(ids, self.vocab_size)
        return b"".join([tokens[token_id] for token_id in row]).decode("utf-8", errors="replace")

    def token_bytes(self, token_id: int) -> bytes:
        """The UTF-8 bytes of one token; they may be only a part of a character.

        Raises: IdRangeError outside 0..vocab_size - 1, DTypeError for anything but an integer
        """
        return self._tokens[expect_id(token_id, self.vocab_size)]

    def is_incomplete(self, ids: Sequence[int]) -> bool:
        """Whether the text of the last id depends on the ids that follow: the bytes end within a character."""
        from tinygrad_llm.text.utf8 import ends_within_character

        return ends_within_character(b"".join([self._tokens[number] for number in ids]))

    @property
    def template(self) -> tuple[list[int], list[int]]:
        """The ids before and after a whole text: `[CLS]` and `[SEP]` if the vocabulary has both, else none.

        BERT frames its texts in this way (Devlin et al. 2018, arXiv:1810.04805).
        """
        frame = [self._special_tokens[name] for name in FRAME if name in self._special_tokens]
        return (frame[:1], frame[1:]) if len(frame) == 2 else ([], [])

    def framed(self, ids: Sequence[int], longest: int | None = None) -> list[int]:
        """The ids of a whole text as a model reads it, within `template`; cut so that at most `longest` remain."""
        before, after = self.template
        room = None if longest is None else max(longest - len(before) - len(after), 0)
        return [*before, *ids[:room], *after]

    # Long texts and files: the modules are imported when called, since encoding a text needs neither.

    def encode_blocks(self, blocks: Iterable[str], allowed_special: AllowedSpecial = ()) -> Iterator[NDArray[Any]]:
        """The ids of a long text that comes in blocks, cut anywhere; joined they are those of `encode` on the whole.

        Memory holds a few blocks only (see chunks.py).
        """
        from tinygrad_llm.text.chunks import encode_chunks

        for _, ids in encode_chunks(self, blocks, allowed_special):
            yield ids

    @property
    def encoding_threads(self) -> int:
        """The number of threads that may encode at once with profit; 1 for Python code, which holds the GIL."""
        return 1

    def last_cut(self, text: str, start: int) -> int:
        """The last position from `start` on where `text` may be cut without changing its ids, or 0."""
        from tinygrad_llm.text.chunks import last_safe_cut

        return last_safe_cut(text, start, self._special_tokens)

    @abstractmethod
    def state(self) -> dict[str, Any]:
        """Everything that defines this tokenizer, as values that JSON can hold."""

    @classmethod
    @abstractmethod
    def from_state(cls, state: dict[str, Any]) -> Tokenizer:
        """The tokenizer that `state` describes. Raises: TokenizerError if it describes none"""

    def fingerprint(self) -> str:
        """A sha256 of everything that defines the ids: equal fingerprints mean equal ids for every text."""
        return hashlib.sha256(json.dumps([self.kind, self.state()], sort_keys=True).encode()).hexdigest()

    def save(self, folder: str | os.PathLike[str]) -> Path:
        """Write this tokenizer into `folder` as one JSON file and return its path; see `saved.save_tokenizer`.

        Raises: CheckpointError if the folder cannot be written
        """
        from tinygrad_llm.text.saved import save_tokenizer

        return save_tokenizer(self, folder)

    def __repr__(self) -> str:
        special = f", special_tokens={self.special_tokens}" if self.special_tokens else ""
        return f"{type(self).__name__}(vocab_size={self.vocab_size}{special})"


def expect_id_row(ids: ArrayLike, vocab_size: int) -> list[int]:
    """A row of ids as Python integers. Raises: IdRangeError for one outside the vocabulary, DTypeError, ShapeError"""
    try:
        row = np.asarray(ids)
    except (TypeError, ValueError, OverflowError) as error:
        raise DTypeError(f"ids must be integers in one row; got {type(ids).__name__}: {error}") from None
    if row.ndim != 1:
        raise ShapeError(f"ids must be one row (T,); got shape {row.shape}: pass a list, or one row of the batch")
    if row.size == 0:
        return []
    if row.dtype.kind not in "iu":
        numbers = row.tolist()
        if row.dtype.kind in "Of" and isinstance(ids, list) and all(type(number) is int for number in ids):
            # Integers beyond 64 bits: NumPy makes them objects or floats, but their range is what is wrong.
            raise IdRangeError(f"ids must be in 0..{vocab_size - 1}; got integers beyond 64 bits")
        raise DTypeError(f"ids must be integers; got {row.dtype} such as {numbers[0]!r}: convert them with astype(int)")
    if row.min() < 0 or row.max() >= vocab_size:
        position = int(np.argmax((row < 0) | (row >= vocab_size)))
        raise IdRangeError(f"ids must be in 0..{vocab_size - 1}; got {row[position]} at position {position}")
    return row.tolist()


def expect_id(token_id: int, vocab_size: int) -> int:
    """One id as a Python integer. Raises: IdRangeError for one outside the vocabulary, DTypeError"""
    if isinstance(token_id, bool) or not isinstance(token_id, int | np.integer):
        raise DTypeError(f"an id must be an integer; got {type(token_id).__name__}")
    if not 0 <= token_id < vocab_size:
        raise IdRangeError(f"an id must be in 0..{vocab_size - 1}; got {token_id}")
    return int(token_id)
