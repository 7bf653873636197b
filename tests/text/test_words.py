"""The book's word tokenizers, against the book's figures."""

import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinygrad_llm.errors import TokenizerError
from tinygrad_llm.text import SimpleTokenizerV1, SimpleTokenizerV2, build_vocabulary, split_words

SPECIAL = ("<|endoftext|>", "<|unk|>")


@pytest.fixture(scope="module")
def the_verdict(data_folder: Path) -> str:
    return (data_folder / "the-verdict.txt").read_text(encoding="utf-8")


def test_the_books_counts(the_verdict: str) -> None:
    assert len(the_verdict) == 20_479
    assert len(split_words(the_verdict)) == 4_690
    assert len(build_vocabulary(the_verdict)) == 1_130
    assert len(build_vocabulary(the_verdict, SPECIAL)) == 1_132


@given(st.text(st.characters(categories=None) | st.sampled_from(" \t\n\x1c\x85\u00a0\u2003--__..,'")))
def test_words_are_those_of_the_books_expression(text: str) -> None:
    words = [item.strip() for item in re.split(r"""([,.:;?_!"()']|--|\s)""", text) if item.strip()]
    assert split_words(text) == words
    assert list(build_vocabulary([text, text[:5]])) == sorted({*words, *split_words(text[:5])})


def test_the_books_ids_of_the_first_version(the_verdict: str) -> None:
    tokenizer = SimpleTokenizerV1(build_vocabulary(the_verdict))
    ids = tokenizer.encode('"It\'s the last he painted, you know,"\n   Mrs. Gisburn said with pardonable pride.')
    assert ids == [1, 56, 2, 850, 988, 602, 533, 746, 5, 1126, 596, 5, 1, 67, 7, 38, 851, 1108, 754, 793, 7]
    assert tokenizer.decode(ids) == '" It\' s the last he painted, you know," Mrs. Gisburn said with pardonable pride.'
    with pytest.raises(TokenizerError, match="'Hello'"):
        tokenizer.encode("Hello, do you like tea?")


def test_the_books_ids_of_the_second_version(the_verdict: str) -> None:
    tokenizer = SimpleTokenizerV2(build_vocabulary(the_verdict, SPECIAL))
    ids = tokenizer.encode("Hello, do you like tea? <|endoftext|> In the sunlit terraces of the palace.")
    assert ids == [1131, 5, 355, 1126, 628, 975, 10, 1130, 55, 988, 956, 984, 722, 988, 1131, 7]
    expected = "<|unk|>, do you like tea? <|endoftext|> In the sunlit terraces of the <|unk|>."
    assert tokenizer.decode(ids) == expected
    assert SimpleTokenizerV2.train(the_verdict).fingerprint() == tokenizer.fingerprint()


def test_the_versions_differ_in_the_space_before_colons() -> None:
    vocabulary = build_vocabulary("a : b ; c", SPECIAL)
    assert SimpleTokenizerV1(vocabulary).decode([2, 0, 3, 1]) == "a : b ;"
    assert SimpleTokenizerV2(vocabulary).decode([2, 0, 3, 1]) == "a: b;"


def test_a_special_token_attached_to_a_word_is_unknown_as_in_the_book() -> None:
    tokenizer = SimpleTokenizerV2.train("a b")
    assert tokenizer.encode("a<|endoftext|> b") == [3, 1]
    assert tokenizer.encode_ordinary("a <|endoftext|> b") == [0, 3, 1]


@given(st.text())
def test_the_second_version_encodes_every_text(text: str) -> None:
    tokenizer = SimpleTokenizerV2.train("a, b. c")
    assert len(tokenizer.encode(text)) == len(split_words(text))


@pytest.mark.parametrize(
    "vocabulary",
    [
        {},
        None,
        ["a"],
        {"a": 1},
        {"a": 0, "b": 0},
        {"a": 0.0},
        {"a": True, "b": 0},
        {"a": "0"},
        {1: 0},
        {"": 0},
        {"a b": 0},
        {"\ud800": 0},
    ],
)
def test_an_invalid_vocabulary_is_refused(vocabulary: dict[str, Any] | list[str] | None) -> None:
    with pytest.raises(TokenizerError):
        SimpleTokenizerV1(vocabulary)
    with pytest.raises(TokenizerError):
        SimpleTokenizerV2(vocabulary)


def test_the_second_version_needs_the_unknown_token() -> None:
    with pytest.raises(TokenizerError, match="build_vocabulary"):
        SimpleTokenizerV2(build_vocabulary("a b"))
