"""The book's two word tokenizers: words and punctuation, first without and then with a token for unknown words.

A text is split at whitespace, at each of `, . : ; ? _ ! " ( ) '` and at `--`; whitespace is dropped. Decoding joins the
words with single spaces and removes them before punctuation, so the text is not restored exactly: `"It's"` becomes
`" It' s"`. Byte pair encoding (bpe.py) has neither this loss nor unknown words.
"""

import re
from collections.abc import Iterable
from typing import Any, ClassVar

from numpy.typing import ArrayLike

from tinygrad_llm.errors import TokenizerError
from tinygrad_llm.formats.strict_json import shown
from tinygrad_llm.text.special_tokens import (
    END_OF_TEXT,
    UNKNOWN,
    AllowedSpecial,
    expect_allowed,
    expect_special_tokens,
    expect_text,
)
from tinygrad_llm.text.tokenizer import Tokenizer, expect_id, expect_id_row

_MARKS = re.compile(r"""([,.:;?_!"()']|--)""")


def split_words(text: str) -> list[str]:
    """The words and punctuation marks of `text`, in order.

    >>> split_words("Hello, world. Is this-- a test?")
    ['Hello', ',', 'world', '.', 'Is', 'this', '--', 'a', 'test', '?']
    """
    return [part for item in expect_text(text).split() for part in _MARKS.split(item) if part]


def build_vocabulary(text: str | Iterable[str], special_tokens: Iterable[str] = ()) -> dict[str, int]:
    """The distinct words of a text or several, sorted, then the special tokens; the position is the id.

    >>> build_vocabulary("to be, or not to be", special_tokens=("<|endoftext|>", "<|unk|>"))
    {',': 0, 'be': 1, 'not': 2, 'or': 3, 'to': 4, '<|endoftext|>': 5, '<|unk|>': 6}
    """
    special = expect_special_tokens(special_tokens)
    items: set[str] = set()  # runs without whitespace, most of which are repeated
    for part in [text] if isinstance(text, str) or not isinstance(text, Iterable) else text:
        items.update(expect_text(part).split())
    words = {word for item in items for word in split_words(item)}
    return {word: place for place, word in enumerate(sorted(words.difference(special)) + special)}


class _WordTokenizer(Tokenizer):
    """Base class of both versions: one id per word of a given vocabulary.

    `str_to_int` and `int_to_str` map words to ids and back, named as in the book.
    """

    no_space_before: ClassVar[str]

    def __init__(self, vocab: dict[str, int], special_tokens: Iterable[str] = ()) -> None:
        if not isinstance(vocab, dict) or not vocab:
            raise TokenizerError("a word vocabulary must be a dict of at least one word; see build_vocabulary")
        for word in vocab:
            if not expect_text(word) or any(character.isspace() for character in word):
                raise TokenizerError(f"a word must be non-empty and hold no whitespace; got {shown(word)}")
        numbers = list(vocab.values())
        if any(type(number) is not int for number in numbers) or sorted(numbers) != list(range(len(numbers))):
            raise TokenizerError(f"the ids of {len(numbers)} words must be 0..{len(numbers) - 1}, each once")
        self.str_to_int = dict(vocab)
        self.int_to_str = {number: word for word, number in vocab.items()}
        super().__init__(
            [self.int_to_str[number].encode() for number in range(len(vocab))],
            {name: vocab[name] for name in special_tokens},
        )

    def separator(self, token_id: int) -> str:
        """A space; empty before punctuation."""
        return "" if self.int_to_str[expect_id(token_id, self.vocab_size)][0] in self.no_space_before else " "

    def decode(self, ids: ArrayLike) -> str:
        """The words with single spaces between them, and none before punctuation.

        Shapes: ids (T,)
        Raises: IdRangeError, DTypeError, ShapeError as every tokenizer
        """
        words = [self.int_to_str[number] for number in expect_id_row(ids, self.vocab_size)]
        return re.sub(rf"\s+([{self.no_space_before}])", r"\1", " ".join(words))

    def state(self) -> dict[str, Any]:
        """The words in the order of their ids."""
        return {"words": [self.int_to_str[number] for number in range(self.vocab_size)]}

    @classmethod
    def from_state(cls, state: dict[str, Any]) -> "Tokenizer":
        """The tokenizer that `state` describes.

        Raises: TokenizerError
        """
        words = state.get("words")
        if not isinstance(words, list) or not all(isinstance(word, str) for word in words):
            raise TokenizerError("a word tokenizer's file needs the list 'words'")
        if len(set(words)) != len(words):
            raise TokenizerError("a word tokenizer's words must differ from each other")
        return cls({word: place for place, word in enumerate(words)})


class SimpleTokenizerV1(_WordTokenizer):
    """The book's first tokenizer (chapter 2): words of its vocabulary; any other word is an error.

    >>> tokenizer = SimpleTokenizerV1(build_vocabulary("Is this a test? This is a test."))
    >>> tokenizer.encode("Is this a test?")
    [2, 7, 4, 6, 1]
    >>> tokenizer.decode([2, 7, 4, 6, 1])
    'Is this a test?'
    """

    kind = "words-v1"
    no_space_before = ",.?!\"()'"

    def __init__(self, vocab: dict[str, int]) -> None:
        """Raises: TokenizerError unless `vocab` gives words the ids 0, 1, ... in any order."""
        super().__init__(vocab)

    def encode_ordinary(self, text: str) -> list[int]:
        """One id per word or punctuation mark.

        Raises: TokenizerError for a word outside the vocabulary
        """
        try:
            return [self.str_to_int[word] for word in split_words(text)]
        except KeyError as error:
            raise TokenizerError(
                f"every word must be among the {self.vocab_size} of the vocabulary; got {error.args[0]!r}: "
                f"use SimpleTokenizerV2, which has {UNKNOWN}, or a BPE tokenizer, which knows every word"
            ) from None


class SimpleTokenizerV2(_WordTokenizer):
    """The book's second tokenizer (chapter 2): unknown words become `<|unk|>`, texts may be joined by `<|endoftext|>`.

    Words written `<|...|>` are special tokens. As in the book, `encode` recognises them in the text by default
    (`allowed_special="all"` is the default of this class only), and only as separate words: attached to another word
    they are part of an unknown word.

    >>> tokenizer = SimpleTokenizerV2(build_vocabulary("Is this a test?", ("<|endoftext|>", "<|unk|>")))
    >>> tokenizer.encode("Is this a dream? <|endoftext|> this")
    [1, 4, 2, 6, 0, 5, 4]
    >>> tokenizer.decode([1, 4, 2, 6, 0, 5, 4])
    'Is this a <|unk|>? <|endoftext|> this'
    """

    kind = "words"
    no_space_before = ",.:;?!\"()'"

    def __init__(self, vocab: dict[str, int]) -> None:
        """Raises: TokenizerError unless `vocab` gives words the ids 0, 1, ... in any order, `<|unk|>` among them."""
        if not isinstance(vocab, dict) or UNKNOWN not in vocab:
            raise TokenizerError(
                f"SimpleTokenizerV2 needs a dict of words with {UNKNOWN} among them: "
                f"build_vocabulary(text, special_tokens=({END_OF_TEXT!r}, {UNKNOWN!r}))"
            )
        super().__init__(vocab, [word for word in vocab if str(word).startswith("<|") and str(word).endswith("|>")])

    @classmethod
    def train(cls, text: str | Iterable[str]) -> "SimpleTokenizerV2":
        """The tokenizer whose vocabulary is the words of a text or several, then `<|endoftext|>`, then `<|unk|>`."""
        return cls(build_vocabulary(text, (END_OF_TEXT, UNKNOWN)))

    def encode(self, text: str, allowed_special: AllowedSpecial = "all") -> list[int]:
        """One id per word, punctuation mark or special token.

        Raises: TokenizerError for a special token that is not allowed
        """
        expect_allowed(text, self._special_tokens, allowed_special)
        unknown = self.str_to_int[UNKNOWN]
        return [self.str_to_int.get(word, unknown) for word in split_words(text)]

    def encode_ordinary(self, text: str) -> list[int]:
        """One id per word or punctuation mark; the text of a special token is an unknown word."""
        unknown, special = self.str_to_int[UNKNOWN], self._special_tokens
        return [unknown if word in special else self.str_to_int.get(word, unknown) for word in split_words(text)]
