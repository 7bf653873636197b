"""The character tokenizer."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinygrad_llm.errors import TokenizerError
from tinygrad_llm.text import CharTokenizer


def test_characters_are_sorted_as_in_nanogpt(data_folder: Path) -> None:
    text = (data_folder / "tinyshakespeare.txt").read_text(encoding="utf-8")
    tokenizer = CharTokenizer.train(text)
    assert tokenizer.vocab_size == 65
    assert [tokenizer.decode([number]) for number in range(4)] == ["\n", " ", "!", "$"]
    assert tokenizer.encode("First Citizen:") == [18, 47, 56, 57, 58, 1, 15, 47, 58, 47, 64, 43, 52, 10]
    assert tokenizer.decode(tokenizer.encode(text)) == text
    assert tokenizer.end_of_text is None


@given(st.text(min_size=1))
def test_round_trip(text: str) -> None:
    tokenizer = CharTokenizer.train(text)
    assert tokenizer.decode(tokenizer.encode(text)) == text
    assert tokenizer.vocab_size == len(set(text))


def test_an_unknown_character_is_named_with_the_fix() -> None:
    with pytest.raises(TokenizerError, match=r"'z' \(U\+007A\): train on a text"):
        CharTokenizer.train("abc").encode("az")


def test_an_unknown_character_may_have_a_token() -> None:
    tokenizer = CharTokenizer.train("abc", special_tokens=("<|endoftext|>", "<|unk|>"))
    assert tokenizer.encode("azb") == [0, 4, 1]
    assert tokenizer.encode("a<|endoftext|>b", "all") == [0, 3, 1]
    assert tokenizer.decode([0, 4]) == "a<|unk|>"


@pytest.mark.parametrize("text", ["", "\ud800", b"abc", None])
def test_a_text_without_characters_is_refused(text: bytes | str | None) -> None:
    with pytest.raises(TokenizerError):
        CharTokenizer.train(text)
