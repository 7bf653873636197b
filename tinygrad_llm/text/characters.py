"""One id per character: the smallest tokenizer, used by nanoGPT's Shakespeare example."""

import functools
import sys
from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tinygrad_llm.errors import TokenizerError
from tinygrad_llm.formats.strict_json import shown
from tinygrad_llm.text.chunks import may_lie_inside
from tinygrad_llm.text.special_tokens import UNKNOWN, AllowedSpecial, expect_allowed, expect_special_tokens, expect_text
from tinygrad_llm.text.tokenizer import Tokenizer


class CharTokenizer(Tokenizer):
    """The sorted characters of a text; the position is the id (as in Karpathy's char-rnn and nanoGPT).

    >>> tokenizer = CharTokenizer.train("hello")
    >>> tokenizer.encode("hole")
    [1, 3, 2, 0]
    >>> tokenizer.decode([1, 3, 2, 0])
    'hole'
    """

    kind = "char"

    def __init__(self, characters: Iterable[str], special_tokens: Iterable[str] = ()) -> None:
        """Characters take the ids 0, 1, ... in the order given, special tokens the ids after them.

        With the special token `<|unk|>`, characters outside the vocabulary get its id; without it they are an error.

        Raises: TokenizerError for strings that are not single characters, repeated ones, or special tokens among them
        """
        self._characters = list(characters)
        names = expect_special_tokens(special_tokens)
        for character in self._characters:
            if not isinstance(character, str) or len(character) != 1:
                raise TokenizerError(f"a character vocabulary holds single characters; got {shown(character)}")
            expect_text(character)
        self._id_of = {character: place for place, character in enumerate(self._characters)}
        if len(self._id_of) != len(self._characters):
            raise TokenizerError(f"characters must differ from each other; got {len(self._characters)} with repeats")
        clash = next((name for name in names if name in self._id_of), None)
        if clash is not None:
            raise TokenizerError(f"special tokens must not be ordinary characters too; {shown(clash)} is both")
        every_token = self._characters + names
        super().__init__(
            [token.encode() for token in every_token],
            {name: len(self._characters) + place for place, name in enumerate(names)},
        )

    @classmethod
    def train(cls, text: str | Iterable[str], special_tokens: Iterable[str] = ()) -> "CharTokenizer":
        """The tokenizer whose vocabulary is the characters of a text or several, sorted by code point.

        Raises: TokenizerError if there is no character, or a text is not valid Unicode
        """
        characters: set[str] = set()
        for part in [text] if isinstance(text, str) or not isinstance(text, Iterable) else text:
            characters.update(expect_text(part))
        if not characters:
            raise TokenizerError("a character vocabulary needs at least one character; got an empty text")
        return cls(sorted(characters), special_tokens)

    def encode_ordinary(self, text: str) -> list[int]:
        """One id per character.

        Raises: TokenizerError for a character outside the vocabulary, unless there is an `<|unk|>`
        """
        expect_text(text)
        id_of, unknown = self._id_of, self._special_tokens.get(UNKNOWN)
        if unknown is not None:
            return [id_of.get(character, unknown) for character in text]
        try:
            return [id_of[character] for character in text]
        except KeyError as error:
            character = error.args[0]
            raise TokenizerError(
                f"every character must be among the {len(id_of)} of the training text; got {character!r} "
                f"(U+{ord(character):04X}): train on a text that has it, or use a BPE tokenizer, which can encode "
                "every character"
            ) from None

    def encode_to_array(self, text: str, allowed_special: AllowedSpecial = ()) -> NDArray[Any]:
        """The ids of `encode` as an array of `id_dtype`, looked up in a table by code point.

        Shapes: -> (T,)
        Raises: TokenizerError as `encode`
        """
        allowed = expect_allowed(text, self._special_tokens, allowed_special)
        if not any(token in text for token in allowed):
            ids = self._id_of_code_point[np.frombuffer(text.encode("utf-32-le"), "<u4")]
            if ids.min(initial=0) >= 0:
                return ids.astype(self.id_dtype)
        return super().encode_to_array(text, allowed)  # for unknown characters and special tokens

    def last_cut(self, text: str, start: int) -> int:
        """The last position after `start` that cannot be inside a special token: a character is encoded alone."""
        for cut in range(len(text), start, -1):
            if not any(may_lie_inside(text, cut, token) for token in self._special_tokens):
                return cut
        return 0

    @functools.cached_property
    def _id_of_code_point(self) -> NDArray[np.int32]:
        table = np.full(sys.maxunicode + 1, self._special_tokens.get(UNKNOWN, -1), np.int32)
        table[[ord(character) for character in self._characters]] = range(len(self._characters))
        return table

    def state(self) -> dict[str, Any]:
        """The characters and special tokens in the order of their ids."""
        return {"characters": self._characters, "special_tokens": list(self._special_tokens)}

    @classmethod
    def from_state(cls, state: dict[str, Any]) -> "CharTokenizer":
        """The tokenizer that `state` describes.

        Raises: TokenizerError
        """
        characters, special_tokens = state.get("characters"), state.get("special_tokens")
        if not isinstance(characters, list) or not isinstance(special_tokens, list):
            raise TokenizerError("a character tokenizer's file needs the lists 'characters' and 'special_tokens'")
        return cls(characters, special_tokens)
