"""Splitting a text and encoding its pieces, against the plain encoder, GPT-2's pattern and tiktoken."""

from typing import Any

import regex
from bpe_texts import GPT2_PATTERN, TOKENIZER, near_text
from hypothesis import given
from hypothesis import strategies as st

from tinygrad_llm.text import plain_bpe
from tinygrad_llm.text.bpe_encoding import encode_piece, parts_for_tiktoken, split_pieces


@given(near_text)
def test_the_pattern_splits_as_gpt2s(text: str) -> None:
    assert split_pieces(text) == regex.findall(GPT2_PATTERN, text)
    assert "".join(split_pieces(text)) == text


@given(st.binary(max_size=40) | near_text.map(str.encode))
def test_a_piece_has_the_ids_of_the_plain_encoder(piece: bytes) -> None:
    assert encode_piece(piece, TOKENIZER.ranks) == plain_bpe.encode(piece, TOKENIZER.ranks)


@given(st.lists(st.text("ab", min_size=2, max_size=5).map(str.encode), unique=True), st.text("ab", max_size=30))
def test_any_ranks_give_the_ids_of_the_plain_encoder(tokens: list[Any], text: str) -> None:
    ranks = {token: rank for rank, token in enumerate([*tokens, b"a", b"b"])}
    assert encode_piece(text.encode(), ranks) == plain_bpe.encode(text.encode(), ranks)


@given(st.binary(max_size=40))
def test_the_ids_decode_to_the_piece(piece: bytes) -> None:
    assert b"".join(TOKENIZER.token_bytes(number) for number in encode_piece(piece, TOKENIZER.ranks)) == piece


@given(
    before=st.sampled_from(["", "x", "x ", "\n"]),
    space=st.sampled_from([" ", "\n", "\u3000", " \n"]),
    count=st.integers(4_900, 5_100) | st.integers(0, 20),
    after=st.sampled_from(["", "x", "1", "!", "\x1c"]),
)
def test_cutting_a_long_run_of_whitespace_changes_no_id(before: str, space: str, count: int, after: str) -> None:
    text = before + space * count + after
    assert "".join(parts_for_tiktoken(text)) == text
    assert TOKENIZER.encode(text) == TOKENIZER.tiktoken_encoding.encode_ordinary(text)
    assert TOKENIZER.encode(text) == TOKENIZER.encode_readable(text)


def test_very_long_runs_are_cut_wherever_they_begin() -> None:
    for start in range(0, 1200, 7):
        assert len(parts_for_tiktoken("x" * start + " " * 5_000 + "x")) == 2
