"""One id per character: the smallest tokenizer there is, and the one of nanoGPT's laptop recipe."""

from collections.abc import Iterable
from typing import Any

from tinygrad_llm.errors import TokenizerError
from tinygrad_llm.text.tokenizer import UNKNOWN, Tokenizer, check_special_tokens, check_text


class CharTokenizer(Tokenizer):
    """The sorted characters of a text, each with its place as id (as in Karpathy's char-rnn and nanoGPT).

    >>> tokenizer = CharTokenizer.train("hello")
    >>> tokenizer.encode("hole")
    [1, 3, 2, 0]
    >>> tokenizer.decode([1, 3, 2, 0])
    'hole'
    """

    kind = "char"

    def __init__(self, characters: Iterable[str], special_tokens: Iterable[str] = ()) -> None:
        """Characters take the ids 0, 1, ... in the order given, special tokens the ids after them.

        With the special token `<|unk|>`, characters outside the vocabulary become its id; without it they are refused.

        Raises: TokenizerError for characters that are not single or not different, or are special tokens as well
        """
        self._characters = list(characters)
        names = check_special_tokens(special_tokens)
        for character in self._characters:
            if not isinstance(character, str) or len(character) != 1:
                raise TokenizerError(f"a character vocabulary holds single characters; got {character!r}")
            check_text(character)
        self._id_of = {character: place for place, character in enumerate(self._characters)}
        if len(self._id_of) != len(self._characters):
            raise TokenizerError(f"characters must differ from each other; got {len(self._characters)} with repeats")
        clash = next((name for name in names if name in self._id_of), None)
        if clash is not None:
            raise TokenizerError(f"special tokens must not be ordinary characters too; {clash!r} is both")
        every_token = self._characters + names
        super().__init__(
            [token.encode() for token in every_token],
            {name: len(self._characters) + place for place, name in enumerate(names)},
        )

    @classmethod
    def train(cls, text: str, special_tokens: Iterable[str] = ()) -> "CharTokenizer":
        """The tokenizer whose vocabulary is the characters of `text`, sorted by code point.

        Raises: TokenizerError if the text is empty or not valid Unicode
        """
        if not check_text(text):
            raise TokenizerError("a character vocabulary needs at least one character; got an empty text")
        return cls(sorted(set(text)), special_tokens)

    def encode_ordinary(self, text: str) -> list[int]:
        """One id per character.

        Raises: TokenizerError for a character outside the vocabulary where there is no `<|unk|>`
        """
        check_text(text)
        id_of, unknown = self._id_of, self._special_tokens.get(UNKNOWN)
        if unknown is not None:
            return [id_of.get(character, unknown) for character in text]
        try:
            return [id_of[character] for character in text]
        except KeyError as error:
            character = error.args[0]
            raise TokenizerError(
                f"every character must be among the {len(id_of)} of the training text; got {character!r} "
                f"(U+{ord(character):04X}): train on a text that has it, train with special_tokens=({UNKNOWN!r},), "
                f"or use a BPE tokenizer, which knows every character"
            ) from None

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
