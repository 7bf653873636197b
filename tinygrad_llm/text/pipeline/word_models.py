"""Models whose piece is a word: WordPiece takes the longest token from the left, WordLevel has one token per word."""

from __future__ import annotations

from tinygrad_llm.errors import TokenizerError
from tinygrad_llm.formats.strict_json import shown
from tinygrad_llm.text.pipeline.fields import Fields
from tinygrad_llm.text.pipeline.vocabulary import Token, Vocabulary, read_vocabulary


class WordPieceModel:
    """The longest token that a word begins with, then the longest that continues there, written with a prefix.

    A word that cannot be split in this way, or is too long, is one unknown token (Wu et al. 2016, arXiv:1609.08144).
    """

    def __init__(self, vocabulary: Vocabulary, unknown: str, prefix: str, longest_word: int) -> None:
        """`longest_word` in characters. Raises: TokenizerError if `unknown` is not in the vocabulary"""
        self.vocabulary = vocabulary
        self._id_of, self._prefix, self._longest_word = vocabulary.ids, prefix, longest_word
        self._unknown_id = _expect_unknown(unknown, vocabulary)
        self._longest_token = max(map(len, self._id_of))

    def ids(self, piece: str) -> list[int]:
        """The ids of a word."""
        return [number for number, _, _ in self.tokens(piece)]

    def tokens(self, piece: str) -> list[Token]:
        """The ids of a word, each with its start and end in the bytes of the word."""
        unknown = [(self._unknown_id, 0, len(piece.encode()))]
        if len(piece) > self._longest_word:
            return unknown
        tokens: list[Token] = []
        start = at = 0
        while start < len(piece):
            mark = self._prefix if start else ""
            for stop in range(min(len(piece), start + self._longest_token), start, -1):
                number = self._id_of.get(mark + piece[start:stop])
                if number is not None:
                    break
            else:
                return unknown
            end = at + len(piece[start:stop].encode())
            tokens.append((number, at, end))
            start, at = stop, end
        return tokens


class WordLevelModel:
    """Each piece is one token, or the unknown token."""

    def __init__(self, vocabulary: Vocabulary, unknown: str) -> None:
        self.vocabulary = vocabulary
        self._unknown = unknown

    def ids(self, piece: str) -> list[int]:
        """The id of a piece. Raises: TokenizerError for an unknown one in a vocabulary without an unknown token"""
        number = self.vocabulary.ids.get(piece, self.vocabulary.ids.get(self._unknown))
        if number is None:
            raise TokenizerError(
                f"{shown(piece)} is not in the vocabulary, nor is the unknown token {shown(self._unknown)}"
            )
        return [number]

    def tokens(self, piece: str) -> list[Token]:
        """The id of a piece, with its start and end in the bytes of the piece."""
        return [(self.ids(piece)[0], 0, len(piece.encode()))]


def _expect_unknown(unknown: str, vocabulary: Vocabulary) -> int:
    if unknown not in vocabulary.ids:
        raise TokenizerError(f"the model's unk_token {shown(unknown)} must be in the vocabulary")
    return vocabulary.ids[unknown]


def read_wordpiece(fields: Fields) -> WordPieceModel:
    """The model of a definition's field `model` of type WordPiece. Raises: TokenizerError"""
    return WordPieceModel(
        read_vocabulary(fields),
        fields.text("unk_token"),
        fields.text("continuing_subword_prefix"),
        fields.count("max_input_chars_per_word"),
    )


def read_word_level(fields: Fields) -> WordLevelModel:
    """The model of a definition's field `model` of type WordLevel. Raises: TokenizerError"""
    return WordLevelModel(read_vocabulary(fields), fields.text("unk_token"))
