"""What every tokenizer here can do: text to ids and back, special tokens, blocks of a long text, and a place on disk.

A tokenizer is a bijection in the making: each id stands for a few bytes, and a text is a row of ids. The files beside
this one differ only in where the pieces come from: single characters, the book's words, or byte pairs (BPE).

A *special token* such as `<|endoftext|>` is a marker that training puts between texts. Text from outside must not be
able to forge it, so `encode` refuses it unless the caller allows it, exactly as tiktoken does:

- `allowed_special=()` (the default): a special token's text anywhere in the input raises TokenizerError;
- `allowed_special="all"` or a collection of names: those become their single id, the others still raise;
- names that the tokenizer does not know are ignored, so that one call serves every tokenizer;
- `encode_ordinary` takes special tokens' text as plain text (tiktoken's `encode_ordinary`).

Where two special tokens fit at one place the longest wins.
"""

import hashlib
import json
import os
import re
from abc import ABC, abstractmethod
from collections.abc import Collection, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tinygrad_llm.errors import CheckpointError, DTypeError, IdRangeError, ShapeError, TokenizerError
from tinygrad_llm.formats import write_json
from tinygrad_llm.text.chunks import encode_chunks, last_safe_cut

END_OF_TEXT = "<|endoftext|>"
UNKNOWN = "<|unk|>"
FRAME = ("[CLS]", "[SEP]")  # around a text of BERT's

# Not `tokenizer.json`: that name belongs to Hugging Face, whose file may lie in the same folder.
TOKENIZER_FILE = "tinygrad_tokenizer.json"
TOKENIZER_FILE_VERSION = 1

AllowedSpecial = Literal["all"] | Collection[str]


class Tokenizer(ABC):
    """Text to ids and back; subclasses say what one id stands for."""

    kind: ClassVar[str]

    def __init__(self, tokens: list[bytes], special_tokens: dict[str, int]) -> None:
        """Keep what each id stands for, in the order of ids, and which of them are special."""
        self._tokens = tokens
        self._special_tokens = special_tokens

    @property
    def vocab_size(self) -> int:
        """How many ids there are, special tokens included; ids run from 0 to vocab_size - 1."""
        return len(self._tokens)

    @property
    def special_tokens(self) -> dict[str, int]:
        """The markers that ordinary text must not forge, each with its id."""
        return dict(self._special_tokens)

    @abstractmethod
    def encode_ordinary(self, text: str) -> list[int]:
        """The ids of `text`, the text of special tokens taken like any other.

        Raises: TokenizerError if the text is no str, not valid Unicode, or holds what the vocabulary does not
        """

    @abstractmethod
    def state(self) -> dict[str, Any]:
        """All that defines this tokenizer, as JSON can hold it; `from_state` takes it back."""

    @classmethod
    @abstractmethod
    def from_state(cls, state: dict[str, Any]) -> "Tokenizer":
        """The tokenizer that `state` describes.

        Raises: TokenizerError if the state describes none
        """

    def token_bytes(self, token_id: int) -> bytes:
        """The UTF-8 bytes that one id stands for; they may be part of a character only.

        Raises: IdRangeError outside 0..vocab_size - 1, DTypeError for anything but an integer
        """
        return self._tokens[checked_id(token_id, self.vocab_size)]

    @property
    def end_of_text(self) -> int | None:
        """The id of `<|endoftext|>`, or None where the vocabulary has none."""
        return self._special_tokens.get(END_OF_TEXT)

    def encode(self, text: str, allowed_special: AllowedSpecial = ()) -> list[int]:
        """The ids of `text`; special tokens only where allowed (see the top of this file).

        Raises: TokenizerError for a special token that is not allowed, and as `encode_ordinary`
        """
        allowed = refuse_special_tokens(text, self._special_tokens, allowed_special)
        ids: list[int] = []
        for place, part in enumerate(split_at_special_tokens(text, allowed)):
            if place % 2:
                ids.append(self._special_tokens[part])
            else:
                ids.extend(self.encode_ordinary(part))
        return ids

    def decode(self, ids: ArrayLike) -> str:
        """The text of a row of ids; bytes that form no character come out as U+FFFD, never as an error.

        Shapes: ids (T,): a list, or an array or Tensor of integers
        Raises: IdRangeError for an id outside the vocabulary, DTypeError for ids that are no integers, ShapeError for
                more or fewer axes than one
        """
        tokens = self._tokens
        row = checked_ids(ids, self.vocab_size)
        return b"".join([tokens[token_id] for token_id in row]).decode("utf-8", errors="replace")

    def separator(self, token_id: int) -> str:
        """What stands between this token's text and the text before it: nothing, except between words."""
        return ""

    @property
    def id_dtype(self) -> type[np.uint16] | type[np.uint32]:
        """The smallest of uint16 and uint32 that holds every id: half the file for vocabularies up to 65,536."""
        return np.uint16 if self.vocab_size <= 1 << 16 else np.uint32

    def encode_to_array(self, text: str, allowed_special: AllowedSpecial = ()) -> NDArray[Any]:
        """The same ids as `encode`, as an array of `id_dtype`.

        Shapes: -> (T,)
        """
        return np.array(self.encode(text, allowed_special), dtype=self.id_dtype)

    def encode_blocks(self, blocks: Iterable[str], allowed_special: AllowedSpecial = ()) -> Iterator[NDArray[Any]]:
        """The ids of a long text that comes in blocks, cut anywhere: together the very ids of `encode` on the whole.

        Memory holds a few blocks; see chunks.py.
        """
        for _, ids in encode_chunks(self, blocks, allowed_special):
            yield ids

    @property
    def encoders_at_once(self) -> int:
        """How many texts may usefully be encoded in threads beside each other: Python code takes turns anyway."""
        return 1

    def last_cut(self, text: str, start: int) -> int:
        """The last place at or after `start` where `text` may be cut without changing its ids, or 0."""
        return last_safe_cut(text, start, self._special_tokens)

    def framed(self, ids: Sequence[int], longest: int | None = None) -> list[int]:
        """The ids of a text as a model reads a whole one: between `[CLS]` and `[SEP]` where the vocabulary has them.

        BERT's texts begin and end so (Devlin et al. 2018); for every other vocabulary they are what they were. The text
        is cut so that at most `longest` ids come out, the frame's among them.
        """
        frame = [self._special_tokens[name] for name in FRAME if name in self._special_tokens]
        room = None if longest is None else max(longest - len(frame), 0)
        return [*frame[:1], *ids[:room], *frame[1:]] if len(frame) == 2 else list(ids[:longest])

    def fingerprint(self) -> str:
        """A sha256 over all that decides ids: equal fingerprints mean equal ids for every text."""
        return hashlib.sha256(json.dumps([self.kind, self.state()], sort_keys=True).encode()).hexdigest()

    def save(self, folder: str | os.PathLike[str]) -> Path:
        """Write this tokenizer into `folder` (made if need be) as one JSON file, whole or not at all; returns its path.

        Raises: CheckpointError if the folder cannot be written
        """
        path = Path(folder) / TOKENIZER_FILE
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
        except (OSError, ValueError) as error:  # ValueError: a null byte in the folder's name
            raise CheckpointError(f"a tokenizer's folder must be writable; {path}: {error}") from error
        write_json(path, {"version": TOKENIZER_FILE_VERSION, "kind": self.kind, **self.state()}, indent=None)
        return path

    def __repr__(self) -> str:
        special = f", special_tokens={self.special_tokens}" if self.special_tokens else ""
        return f"{type(self).__name__}(vocab_size={self.vocab_size}{special})"


def check_text(text: object) -> str:
    """`text` itself, if it is a str of valid Unicode (no lone surrogates).

    Raises: TokenizerError
    """
    if not isinstance(text, str):
        raise TokenizerError(f"a tokenizer encodes str; got {type(text).__name__}: decode bytes as UTF-8 first")
    if not text.isascii():  # which Python knows without looking
        try:
            text.encode("utf-8")
        except UnicodeEncodeError as error:
            raise TokenizerError(
                f"text must be valid Unicode; character {error.start} is the lone surrogate "
                f"U+{ord(text[error.start]):04X}: read the file as UTF-8 with errors='replace', or remove it"
            ) from None
    return text


def refuse_special_tokens(text: str, special_tokens: dict[str, int], allowed_special: AllowedSpecial) -> set[str]:
    """The special tokens that are allowed, once the text is known to hold no other.

    Raises: TokenizerError for a special token in the text that is not allowed
    """
    check_text(text)
    if isinstance(allowed_special, str):
        if allowed_special != "all":
            raise TokenizerError(
                f'allowed_special must be "all" or a collection of names; got {allowed_special!r}: '
                f"write allowed_special={{{allowed_special!r}}}"
            )
        return set(special_tokens)
    allowed = set(special_tokens).intersection(allowed_special)
    for token in special_tokens:
        if token not in allowed and token in text:
            raise TokenizerError(
                f"text must not hold the special token {token!r} unless it is allowed; found at character "
                f"{text.index(token)}: pass allowed_special={{{token!r}}} (or 'all') to mean the marker, "
                f"or use encode_ordinary to mean its letters"
            )
    return allowed


def split_at_special_tokens(text: str, special_tokens: Iterable[str]) -> list[str]:
    """Stretches of ordinary text with the special tokens between them: the odd places hold the special tokens.

    >>> split_at_special_tokens("one<|endoftext|>two", ["<|endoftext|>"])
    ['one', '<|endoftext|>', 'two']
    """
    longest_first = sorted(special_tokens, key=lambda token: (-len(token), token))
    if not longest_first:
        return [text]
    return re.split("(" + "|".join(map(re.escape, longest_first)) + ")", text)


def check_special_tokens(tokens: Iterable[str]) -> list[str]:
    """The names, if they can be special tokens: non-empty strings of valid Unicode, no two alike.

    Raises: TokenizerError
    """
    if isinstance(tokens, str):
        raise TokenizerError(f"special tokens must be a collection of names; got the single str {tokens!r}")
    names = list(tokens)
    for name in names:
        if not check_text(name):
            raise TokenizerError("a special token must be a non-empty str; got ''")
    if len(set(names)) != len(names):
        raise TokenizerError(f"special tokens must differ from each other; got {names}")
    return names


def checked_ids(ids: ArrayLike, vocab_size: int) -> list[int]:
    """A row of ids as Python integers, each one in the vocabulary.

    Raises: IdRangeError, DTypeError, ShapeError
    """
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
            # Integers beyond 64 bits: NumPy makes them objects or floats, but range is what is wrong with them.
            raise IdRangeError(f"ids must lie in 0..{vocab_size - 1}; got integers beyond 64 bits")
        raise DTypeError(f"ids must be integers; got {row.dtype} such as {numbers[0]!r}: convert them with astype(int)")
    if row.min() < 0 or row.max() >= vocab_size:
        where = int(np.argmax((row < 0) | (row >= vocab_size)))
        raise IdRangeError(f"ids must lie in 0..{vocab_size - 1}; got {row[where]} at position {where}")
    return row.tolist()


def checked_id(token_id: int, vocab_size: int) -> int:
    """One id as a Python integer, in the vocabulary.

    Raises: IdRangeError, DTypeError
    """
    if isinstance(token_id, bool) or not isinstance(token_id, int | np.integer):
        raise DTypeError(f"an id must be an integer; got {type(token_id).__name__}")
    if not 0 <= token_id < vocab_size:
        raise IdRangeError(f"an id must lie in 0..{vocab_size - 1}; got {token_id}")
    return int(token_id)
