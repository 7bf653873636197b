"""Encoding a long text in chunks gives the ids of the whole text."""

import re
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinygrad_llm.text import (
    BPETokenizer,
    CharTokenizer,
    SimpleTokenizerV1,
    SimpleTokenizerV2,
    Tokenizer,
    WordPieceTokenizer,
    build_vocabulary,
    split_words,
)
from tinygrad_llm.text.chunks import cut_into_chunks, encode_chunks, last_safe_cut, may_lie_inside

# What could join across a cut: endings after an apostrophe, runs of all kinds of whitespace, CR LF, letters that only
# newer Unicode tables know (\u1c89, \U0001e5d0), controls, marks, an emoji of several code points, markers and halves.
PARTS = [
    "a",
    "it's",
    "we'll",
    "'",
    "don't",
    "one",
    "23",
    "4.5",
    ", ",
    "--",
    "...",
    " ",
    "  ",
    "   ",
    "\n",
    "\r\n",
    "\r",
    "\t",
    "\x0b",
    "\x0c",
    "\x85",
    "\x1c",
    "\xa0",
    "\u2009",
    "\u200b",
    "\u3000",
    "\u2028",
    "é",
    "e\u0301",
    "漢字",
    "、",
    "ﬁ",
    "\u1c89",
    "\U0001e5d0",
    "👩\u200d🚀",
    "\0",
    "<|endoftext|>",
    "<|endof",
    "text|>",
    "<|",
    "[SEP]",
    " " * 40,
    "\n" * 9,
]
TEXT = " ".join(PARTS)

TOKENIZERS: list[Tokenizer] = [
    CharTokenizer.train(TEXT),
    CharTokenizer.train(TEXT, ("<|endoftext|>", "aa", "<|unk|>")),
    SimpleTokenizerV1(build_vocabulary(TEXT)),
    SimpleTokenizerV2.train(TEXT),
    BPETokenizer.train([TEXT] * 3, 330),
    BPETokenizer.train(TEXT, 300, ("<|endoftext|>", "\n\n a", "  \n", "a  a")),
    WordPieceTokenizer(["[UNK]", "[CLS]", "[SEP]", *"aoneit23", *"-,.'", "##ne", "##e", "漢"]),
]
every_tokenizer = pytest.mark.parametrize(
    "tokenizer", [*TOKENIZERS, "gpt2"], indirect=True, ids=lambda tokenizer: getattr(tokenizer, "kind", tokenizer)
)

texts = st.lists(st.one_of(st.sampled_from(PARTS), st.text(max_size=4)), max_size=30).map("".join)


@pytest.fixture(scope="module")
def tokenizer(request: pytest.FixtureRequest) -> Any:
    return request.getfixturevalue("gpt2") if request.param == "gpt2" else request.param


def blocks_of(text: str, size: int) -> list[str]:
    return [text[start : start + size] for start in range(0, len(text), size)]


def what_it_knows(tokenizer: Tokenizer, text: str) -> str:
    """The text without characters or words that this tokenizer would refuse."""
    if tokenizer.kind == "char" and "<|unk|>" not in tokenizer.special_tokens:
        return "".join(character for character in text if character in TEXT)
    if isinstance(tokenizer, SimpleTokenizerV1):
        parts = re.split(r"(\s+)", text)
        return "".join(part for part in parts if set(split_words(part)) <= tokenizer.str_to_int.keys())
    return text


@every_tokenizer
@given(text=texts, size=st.integers(1, 25))
def test_chunks_have_the_ids_of_the_whole(tokenizer: Tokenizer, text: str, size: int) -> None:
    text = what_it_knows(tokenizer, text)
    pairs = list(encode_chunks(tokenizer, blocks_of(text, size), "all"))
    assert "".join(chunk for chunk, _ in pairs) == text
    assert [number for _, ids in pairs for number in ids.tolist()] == tokenizer.encode(text, "all")
    for chunk, ids in pairs:
        assert ids.tolist() == tokenizer.encode(chunk, "all") and ids.dtype == tokenizer.id_dtype


@every_tokenizer
@given(text=texts, places=st.lists(st.integers(0, 200), max_size=3))
def test_no_allowed_cut_changes_the_ids(tokenizer: Tokenizer, text: str, places: list[int]) -> None:
    """Not only those that the blocks happen to bring about."""
    text = what_it_knows(tokenizer, text)
    cuts = sorted({tokenizer.last_cut(text[: place % (len(text) + 1)], 0) for place in places})
    parts = [text[start:stop] for start, stop in pairwise([0, *cuts, len(text)])]
    assert [number for part in parts for number in tokenizer.encode(part, "all")] == tokenizer.encode(text, "all")


@given(st.lists(st.sampled_from([" ", "ab", "a b", "   "])), st.integers(1, 9))
def test_a_text_is_cut_as_often_as_possible(parts: list[str], size: int) -> None:
    text = "".join(parts)
    chunks = list(cut_into_chunks(blocks_of(text, size), lambda text, start: last_safe_cut(text, start, ())))
    assert "".join(chunks) == text
    assert all(chunk[0] == " " for chunk in chunks[1:])
    places = [i for i in range(1, len(text)) if text[i] == " " != text[i - 1]]
    last_of_blocks = {
        max((p for p in places if start <= p < start + size), default=0) for start in range(0, len(text), size)
    } - {0}
    assert {sum(map(len, chunks[:i])) for i in range(1, len(chunks))} == last_of_blocks


def test_characters_are_cut_without_whitespace() -> None:
    chunks = [chunk for chunk, _ in encode_chunks(CharTokenizer.train("ACGT"), ["ACGT" * 9, "CA" * 7])]
    assert chunks == ["ACGT" * 9, "CA" * 7]


def test_the_last_cut_is_found_far_from_the_end() -> None:
    assert last_safe_cut("one two three", 0, []) == 7
    assert last_safe_cut("one two three", 8, []) == 0
    assert last_safe_cut("one " + "x" * 100_000, 0, []) == 3
    assert last_safe_cut("  ", 0, []) == 0
    assert last_safe_cut("one\r\ntwo", 0, []) == 3
    assert last_safe_cut("a b", 0, ["a b c"]) == 0 and may_lie_inside("a b", 1, "a b c")


def test_an_error_in_any_thread_is_raised() -> None:
    with pytest.raises(ValueError, match="must not hold the special token"):
        list(encode_chunks(TOKENIZERS[4], ["one two ", "three <|endoftext|> four ", "five " * 50]))


def test_a_consumer_that_stops_leaves_no_running_thread() -> None:
    pairs = encode_chunks(TOKENIZERS[4], ["one two " * 1000] * 50)
    next(pairs)
    pairs.close()
