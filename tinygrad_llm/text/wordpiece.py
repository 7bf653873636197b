"""WordPiece, BERT's tokenizer: split into words, then split each word into the longest pieces of the vocabulary.

A text is cleaned and split into words; each punctuation mark and each Chinese character is a word of its own. For an
uncased vocabulary, words become lower case without accents. Then each word is split greedily from the left: the longest
piece of the vocabulary that it begins with, then the longest that continues there, written with `##` before it (Wu et
al. 2016, arXiv:1609.08144; Devlin et al. 2018, arXiv:1810.04805). A word that cannot be split in this way becomes one
`[UNK]`. Decoding does not restore spaces, case and accents.

Python's Unicode tables decide which characters are punctuation, marks or controls. Hugging Face's tokenizers use older
tables and differ on a few hundred newer characters.
"""

import unicodedata
from collections.abc import Callable, Collection, Sequence
from typing import Any

from numpy.typing import ArrayLike

from tinygrad_llm.errors import TokenizerError
from tinygrad_llm.formats.strict_json import shown
from tinygrad_llm.text.special_tokens import FRAME, expect_text
from tinygrad_llm.text.tokenizer import Tokenizer, expect_id, expect_id_row

UNKNOWN_WORD = "[UNK]"
SPECIAL_TOKENS = ("[PAD]", UNKNOWN_WORD, *FRAME, "[MASK]")
CONTINUES = "##"  # prefix of a piece that does not begin its word
LONGEST_WORD = 100  # characters; a longer word is unknown

# The CJK Unified Ideographs and their extensions; Japanese kana and Korean letters are not among them.
IDEOGRAPHS = (
    (0x4E00, 0x9FFF),
    (0x3400, 0x4DBF),
    (0x20000, 0x2A6DF),
    (0x2A700, 0x2B73F),
    (0x2B740, 0x2B81F),
    (0x2B820, 0x2CEAF),
    (0xF900, 0xFAFF),
    (0x2F800, 0x2FA1F),
)


class _Rule(dict[int, str]):
    """The table of `str.translate` for a function of one character; each entry is computed on first use."""

    def __init__(self, replacement: Callable[[str], str]) -> None:
        self.replacement = replacement

    def __missing__(self, code: int) -> str:
        self[code] = result = self.replacement(chr(code))
        return result


def _cleaned(character: str) -> str:
    """An empty string for a control character, a space for whitespace, else the character."""
    if character in "\t\n\r":
        return " "
    if character in "\0\ufffd" or unicodedata.category(character) in ("Cc", "Cf", "Co"):
        return ""
    return " " if character.isspace() else character


def _cleaned_ideograph_spaced(character: str) -> str:
    return f" {character} " if any(low <= ord(character) <= high for low, high in IDEOGRAPHS) else _cleaned(character)


def _without_accent(character: str) -> str:
    return "" if unicodedata.category(character) == "Mn" else character


def _punctuation_spaced(character: str) -> str:
    """Spaces around punctuation. All ASCII characters but letters, digits and space count, also `$` and `~`."""
    is_punctuation = not character.isalnum() if character.isascii() else unicodedata.category(character).startswith("P")
    return f" {character} " if is_punctuation and character != " " else character


CLEAN, CLEAN_CHINESE = _Rule(_cleaned), _Rule(_cleaned_ideograph_spaced)
STRIP_ACCENTS, LOWER, SPLIT_PUNCTUATION = _Rule(_without_accent), _Rule(str.lower), _Rule(_punctuation_spaced)


class WordPieceTokenizer(Tokenizer):
    """BERT's tokenizer, with the ids of Hugging Face's `BertTokenizer` for the same vocabulary.

    >>> tokenizer = WordPieceTokenizer(["[UNK]", "[CLS]", "[SEP]", "un", "##aff", "##able", "!", "cafe"])
    >>> tokenizer.encode("Unaffable café!")
    [3, 4, 5, 7, 6]
    >>> tokenizer.decode([3, 4, 5, 7, 6])
    'unaffable cafe!'
    >>> tokenizer.framed(tokenizer.encode("tea"))
    [1, 0, 2]
    """

    kind = "wordpiece"

    def __init__(
        self,
        pieces: Sequence[str],
        lowercase: bool = True,
        strip_accents: bool | None = None,
        split_chinese: bool = True,
        special_tokens: Collection[str] = SPECIAL_TOKENS,
    ) -> None:
        """`pieces` in the order of their ids; those that are in `special_tokens` are special.

        `strip_accents` is as `lowercase` unless given.

        Raises: TokenizerError for pieces that are not distinct strings, or without `[UNK]`
        """
        id_of: dict[str, int] = {}
        for number, piece in enumerate(pieces):
            if not expect_text(piece) or piece in id_of:
                raise TokenizerError(
                    f"WordPiece: pieces must be non-empty and differ from each other; the one with id {number} is "
                    f"{shown(piece)}{' again' if piece else ''}"
                )
            id_of[piece] = number
        if UNKNOWN_WORD not in id_of:
            raise TokenizerError(
                f"WordPiece: the vocabulary must have {UNKNOWN_WORD} for unknown words; none of the {len(id_of)} "
                f"pieces is {UNKNOWN_WORD}"
            )
        special = {piece: number for piece, number in id_of.items() if piece in special_tokens}
        super().__init__([piece.removeprefix(CONTINUES).encode() or piece.encode() for piece in id_of], special)
        self.pieces, self._id_of = tuple(id_of), id_of
        self.lowercase, self.split_chinese = lowercase, split_chinese
        self.strip_accents = strip_accents
        self._longest_piece = max(map(len, id_of))

    def split_words(self, text: str) -> list[str]:
        """The words of `text`, cleaned, and in lower case without accents for an uncased vocabulary.

        >>> WordPieceTokenizer(["[UNK]"]).split_words("Naïve?! 漢字")
        ['naive', '?', '!', '漢', '字']
        """
        text = expect_text(text).translate(CLEAN_CHINESE if self.split_chinese else CLEAN)
        if self.lowercase if self.strip_accents is None else self.strip_accents:
            text = unicodedata.normalize("NFD", text).translate(STRIP_ACCENTS)
        if self.lowercase:
            text = text.translate(LOWER)  # per character: str.lower() would depend on a sigma's neighbours
        return text.translate(SPLIT_PUNCTUATION).split()

    def encode_ordinary(self, text: str) -> list[int]:
        """The ids of the pieces of all words.

        Raises: TokenizerError if the text is not valid Unicode
        """
        return [number for word in self.split_words(text) for number in self._pieces_of(word)]

    def _pieces_of(self, word: str) -> list[int]:
        """Greedy split from the left, the longest piece first; one `[UNK]` if no piece fits."""
        unknown = [self._id_of[UNKNOWN_WORD]]
        if len(word) > LONGEST_WORD:
            return unknown
        ids: list[int] = []
        start = 0
        while start < len(word):
            mark = CONTINUES if start else ""
            for stop in range(min(len(word), start + self._longest_piece), start, -1):
                number = self._id_of.get(mark + word[start:stop])
                if number is not None:
                    break
            else:
                return unknown
            ids.append(number)
            start = stop
        return ids

    def separator(self, token_id: int) -> str:
        """A space; empty before a piece that continues a word, and before `.`, `,`, `?` and `!`."""
        piece = self.pieces[expect_id(token_id, self.vocab_size)]
        continues = piece.startswith(CONTINUES) and piece != CONTINUES
        return "" if continues or piece in (".", ",", "?", "!") else " "

    def decode(self, ids: ArrayLike) -> str:
        """The words with single spaces between them, and none before `.`, `,`, `?` and `!`.

        Shapes: ids (T,)
        Raises: IdRangeError, DTypeError, ShapeError as every tokenizer
        """
        row = expect_id_row(ids, self.vocab_size)
        text = "".join([self.separator(number) + self._tokens[number].decode() for number in row])
        return text[len(self.separator(row[0])) :] if row else ""

    def state(self) -> dict[str, Any]:
        """The pieces in the order of their ids, the special ones, and the settings of the word split."""
        return {
            "pieces": list(self.pieces),
            "special_tokens": list(self._special_tokens),
            "lowercase": self.lowercase,
            "strip_accents": self.strip_accents,
            "split_chinese": self.split_chinese,
        }

    @classmethod
    def from_state(cls, state: dict[str, Any]) -> "Tokenizer":
        """The tokenizer that `state` describes.

        Raises: TokenizerError
        """
        pieces, special_tokens = state.get("pieces"), state.get("special_tokens")
        for name, strings in (("pieces", pieces), ("special_tokens", special_tokens)):
            if not isinstance(strings, list) or not all(isinstance(string, str) for string in strings):
                raise TokenizerError(f"a WordPiece tokenizer's file needs the list of strings {name!r}")
        flags: dict[str, Any] = {name: state.get(name) for name in ("lowercase", "strip_accents", "split_chinese")}
        wrong = [name for name, value in flags.items() if not isinstance(value, bool)]
        if wrong and (wrong != ["strip_accents"] or flags["strip_accents"] is not None):
            raise TokenizerError(f"a WordPiece tokenizer's file needs true or false for {', '.join(wrong)}")
        return cls(pieces, special_tokens=special_tokens, **flags)  # type: ignore[arg-type]
