"""Decoding id by id gives the same text, in whole characters."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinygrad_llm.errors import DTypeError, IdRangeError
from tinygrad_llm.text import (
    BPETokenizer,
    CharTokenizer,
    SimpleTokenizerV1,
    SimpleTokenizerV2,
    StreamDecoder,
    build_vocabulary,
)

TEXT = "One, two; (three)! It's -- so: é 漢 🙂 _x_"
TOKENIZERS = [
    CharTokenizer.train(TEXT),
    SimpleTokenizerV1(build_vocabulary(TEXT)),
    SimpleTokenizerV2.train(TEXT),
    BPETokenizer.train(TEXT * 3, 270),
]


@pytest.mark.parametrize("tokenizer", TOKENIZERS, ids=lambda tokenizer: tokenizer.kind)
@given(data=st.data())
def test_the_joined_stream_is_the_decoded_text(tokenizer: Any, data: Any) -> None:
    ids = data.draw(st.lists(st.integers(0, tokenizer.vocab_size - 1), max_size=30))
    stream = StreamDecoder(tokenizer)
    assert "".join(map(stream.push, ids)) + stream.finish() == tokenizer.decode(ids)


@given(st.text())
def test_valid_text_never_shows_the_replacement_character(text: str) -> None:
    tokenizer = TOKENIZERS[-1]
    shown = ""
    stream = StreamDecoder(tokenizer)
    for token_id in tokenizer.encode(text):
        shown += stream.push(token_id)
        assert text.startswith(shown)
    assert shown + stream.finish() == text


@pytest.mark.parametrize("tokenizer", TOKENIZERS, ids=lambda tokenizer: tokenizer.kind)
def test_a_stream_continues_after_a_prompt(tokenizer: Any) -> None:
    ids = tokenizer.encode(TEXT)
    for place in range(1, len(ids)):
        stream = StreamDecoder(tokenizer, after=ids[:place])
        rest = "".join(map(stream.push, ids[place:])) + stream.finish()
        assert tokenizer.decode(ids).endswith(rest)
        assert len(tokenizer.decode(ids)) - len(rest) <= len(tokenizer.decode(ids[:place]))


def test_an_incomplete_character_is_held_back_and_replaced_at_the_end() -> None:
    tokenizer = BPETokenizer.train("", 257)
    stream = StreamDecoder(tokenizer)
    assert [stream.push(byte) for byte in "🙂".encode()[:3]] == ["", "", ""]
    assert stream.finish() == "\ufffd"


def test_ids_are_checked() -> None:
    stream = StreamDecoder(TOKENIZERS[0])
    with pytest.raises(IdRangeError):
        stream.push(10_000)
    with pytest.raises(DTypeError):
        stream.push(1.5)
    with pytest.raises(DTypeError):
        StreamDecoder(TOKENIZERS[0], after=[True])
