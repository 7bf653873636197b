"""WordPiece: words, pieces, special tokens, blocks of text."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from wordpiece_vocabularies import LETTERS, SMALL, SPECIAL

from tinygrad_llm.errors import TokenizerError
from tinygrad_llm.text import BPETokenizer, WordPieceTokenizer


@pytest.mark.parametrize(
    ("text", "pieces"),
    [
        ("The unaffable.", ["the", "un", "##aff", "##able", "."]),
        ("running runn run", ["runn", "##ing", "runn", "run"]),  # the longest piece first
        ("unaffa unab", ["un", "##aff", "##a", "[UNK]"]),  # one missing piece loses the word
        ("Naïve naïve", ["naive", "naive"]),
        ("the,the", ["the", ",", "the"]),
        ("漢漢 漢the", ["漢", "漢", "漢", "the"]),
        ("run\x00n\u200bing\ufffd", ["runn", "##ing"]),
        ("the\x0cthe the\u3000run", ["[UNK]", "the", "run"]),  # a form feed is a control character
        ("  \n ", []),
    ],
)
def test_written_cases(text: str, pieces: Any) -> None:
    tokenizer = WordPieceTokenizer(SMALL)
    assert [tokenizer.pieces[number] for number in tokenizer.encode(text)] == pieces


def test_a_word_of_more_than_100_characters_is_unknown() -> None:
    tokenizer = WordPieceTokenizer([*SPECIAL, "a", "##a"])
    assert tokenizer.encode("a" * 100) == [5] + [6] * 99
    assert tokenizer.encode("a" * 101 + " a") == [1, 5]


def test_settings_for_case_accents_and_chinese() -> None:
    words = [["naive"], ["Naïve"], ["naïve"], ["Naive"], ["the漢"]]
    for choices, text, expected in zip(
        [
            {},
            {"lowercase": False},
            {"strip_accents": False},
            {"lowercase": False, "strip_accents": True},
            {"split_chinese": False},
        ],
        ["Naïve"] * 4 + ["the漢"],
        words,
        strict=True,
    ):
        assert WordPieceTokenizer(SMALL, **choices).split_words(text) == expected


def test_decoding_joins_pieces_and_puts_spaces_between_words() -> None:
    tokenizer = WordPieceTokenizer(SMALL)
    assert tokenizer.decode(tokenizer.encode("The  unaffable ,run ! ' .")) == "the unaffable, run! '."
    assert tokenizer.decode([6]) == "un" and tokenizer.decode([7, 5]) == "aff the"
    assert tokenizer.token_bytes(7) == b"aff" and tokenizer.separator(7) == "" and tokenizer.separator(5) == " "


def test_a_whole_text_is_framed() -> None:
    tokenizer = WordPieceTokenizer(SMALL)
    assert tokenizer.framed([5, 6, 7]) == [2, 5, 6, 7, 3]
    assert tokenizer.framed([5, 6, 7], 4) == [2, 5, 6, 3] and tokenizer.framed([5], 1) == [2, 3]
    for other in (BPETokenizer.train("", 257), WordPieceTokenizer(["[UNK]", "[CLS]"])):
        assert other.framed([1, 0]) == [1, 0] and other.framed([1, 0], 1) == [1]


def test_special_tokens_are_read_only_where_allowed() -> None:
    tokenizer = WordPieceTokenizer(SMALL)
    assert tokenizer.encode("the [MASK]run", {"[MASK]"}) == [5, 4, SMALL.index("run")]
    with pytest.raises(TokenizerError, match="MASK"):
        tokenizer.encode("the [MASK]")
    assert 4 not in tokenizer.encode_ordinary("the [MASK]")


@pytest.mark.parametrize(
    ("pieces", "message"),
    [
        (["a"], r"must have \[UNK\]"),
        ([], r"must have \[UNK\]"),
        (["[UNK]", ""], "the one with id 1 is ''"),
        (["[UNK]", "a", "a"], "the one with id 2 is 'a' again"),
        (["[UNK]", 5], "encodes str"),
    ],
)
def test_invalid_pieces_are_refused(pieces: Any, message: str) -> None:
    with pytest.raises(TokenizerError, match=message):
        WordPieceTokenizer(pieces)


@given(st.text(max_size=80))
def test_encoding_decoded_words_again_gives_the_same_ids(text: str) -> None:
    for tokenizer in LETTERS.values():
        assert all(0 <= number < tokenizer.vocab_size for number in tokenizer.encode_ordinary(text))
        words = tokenizer.split_words(text)
        assert tokenizer.split_words(" ".join(words)) == words
        assert all(word and not any(c.isspace() for c in word) for word in words)


SPACES = " \n\f\v\x85\x1c\u2028\u200b\u00a0\0"


@given(parts=st.lists(st.sampled_from(["un", "able", "the", *SPACES]), max_size=9), cut=st.integers(0, 30))
def test_a_text_in_blocks_has_the_same_ids(parts: list[str], cut: int) -> None:
    """Also where a control character, which others take for a space, joins what is around it."""
    tokenizer, text = WordPieceTokenizer(SMALL), "".join(parts)
    rows = tokenizer.encode_blocks([text[:cut], text[cut:]])
    assert [number for row in rows for number in row.tolist()] == tokenizer.encode(text)


@given(st.lists(st.sampled_from(["un", "aff", "able", "a", "runn", "ing", "run", " ", ",", "the"]), max_size=12))
def test_pieces_are_the_words_and_each_is_the_longest_that_fits(parts: list[str]) -> None:
    tokenizer = WordPieceTokenizer(SMALL)
    for word in tokenizer.split_words("".join(parts)):
        rest, start = word, True
        for number in tokenizer.encode(word):
            if number == 1:
                assert tokenizer.encode(word) == [1]
                break
            piece = tokenizer.token_bytes(number).decode()
            longer = [p for p in SMALL if p.startswith("##") is not start and rest.startswith(p.removeprefix("##"))]
            assert max(map(len, (p.removeprefix("##") for p in longer))) == len(piece) and rest.startswith(piece)
            rest, start = rest[len(piece) :], False
        else:
            assert rest == ""
