"""Tokenizers of every family: recorded ids, offsets and texts of the library, and properties that need no library."""

import json
import pickle
import random
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizer_families import FAMILIES
from tokenizer_texts import random_text

from tinygrad_llm.errors import IdRangeError, TokenizerError
from tinygrad_llm.text import StreamDecoder, load_tokenizer
from tinygrad_llm.text.pipeline import PipelineTokenizer

RECORDED = json.loads(Path(__file__).with_name("recorded.json").read_text())
TOKENIZERS = {family: PipelineTokenizer(RECORDED[family]["definition"]) for family in FAMILIES}
# Their normalizers lose nothing but a space at the beginning, so that the text comes back.
LOSSLESS = ("gpt2", "llama3", "o200k", "deepseek", "starcoder", "bloom", "gemma")

each = pytest.mark.parametrize("family", FAMILIES)


@each
def test_ids_offsets_and_texts_are_those_of_the_library(family: str) -> None:
    tokenizer = TOKENIZERS[family]
    for text, ids, offsets, decoded in RECORDED[family]["cases"]:
        assert tokenizer.encode(text, allowed_special="all") == ids, ascii(text)
        assert [list(span) for span in tokenizer.offsets(text)] == offsets, ascii(text)
        assert tokenizer.decode(ids) == decoded, ascii(text)


@pytest.mark.parametrize("family", LOSSLESS)
@given(text=st.text(max_size=40))
def test_the_text_comes_back(family: str, text: str) -> None:
    tokenizer = TOKENIZERS[family]
    ids = tokenizer.encode_ordinary(text)
    assert tokenizer.decode(ids) == (text.replace("▁", " ") if family == "gemma" else text)


@each
@given(seed=st.integers(0, 10**9))
def test_offsets_lie_in_the_text_and_there_is_one_per_id(family: str, seed: int) -> None:
    tokenizer = TOKENIZERS[family]
    text = random_text(random.Random(seed), list(tokenizer.special_tokens))
    offsets = tokenizer.offsets(text)
    assert len(offsets) == len(tokenizer.encode(text, allowed_special="all"))
    assert all(0 <= start <= stop <= len(text) for start, stop in offsets)


@each
@given(data=st.data())
def test_the_joined_stream_is_the_decoded_text(family: str, data: Any) -> None:
    tokenizer = TOKENIZERS[family]
    ids = data.draw(st.lists(st.integers(0, tokenizer.vocab_size - 1), max_size=20))
    stream = StreamDecoder(tokenizer)
    assert "".join(map(stream.push, ids)) + stream.finish() == tokenizer.decode(ids)


@each
def test_a_saved_tokenizer_is_the_same(family: str, tmp_path: Path) -> None:
    tokenizer = TOKENIZERS[family]
    tokenizer.save(tmp_path)
    read = load_tokenizer(tmp_path)
    assert isinstance(read, PipelineTokenizer) and read.fingerprint() == tokenizer.fingerprint()
    text = RECORDED[family]["cases"][0][0]
    assert read.encode(text, "all") == tokenizer.encode(text, "all")


def test_special_tokens_are_read_only_where_allowed() -> None:
    tokenizer = TOKENIZERS["llama3"]
    eot = tokenizer.special_tokens["<|eot_id|>"]
    assert tokenizer.encode("a<|eot_id|>", {"<|eot_id|>"})[-1] == eot
    assert eot not in tokenizer.encode_ordinary("a<|eot_id|>")
    assert tokenizer.decode(tokenizer.encode_ordinary("a<|eot_id|>")) == "a<|eot_id|>"
    with pytest.raises(TokenizerError, match="must not hold the special token"):
        tokenizer.encode("a<|eot_id|>")
    with pytest.raises(TokenizerError, match="must not hold the special token '<s>'"):
        tokenizer.encode("<s>a<|eot_id|>", {"<|eot_id|>"})


def test_the_template_frames_a_text() -> None:
    tokenizer = TOKENIZERS["llama2"]
    assert tokenizer.template == ([0], []) and tokenizer.bos_id == 0 and tokenizer.eos_id is None
    assert tokenizer.framed([5, 6, 7]) == [0, 5, 6, 7] and tokenizer.framed([5, 6, 7], 3) == [0, 5, 6]
    roberta = TOKENIZERS["roberta"]
    assert roberta.framed([5]) == [0, 5, 0] and roberta.eos_id == 0
    assert TOKENIZERS["gpt2"].eos_id == TOKENIZERS["gpt2"].special_tokens["<|endoftext|>"]


def test_a_vocabulary_may_have_gaps() -> None:
    model = {"type": "BPE", "vocab": {"a": 0, "b": 5}, "merges": []}
    tokenizer = PipelineTokenizer({"model": model, "decoder": {"type": "Fuse"}}, eos_token="b")
    assert tokenizer.vocab_size == 6 and tokenizer.encode("ab") == [0, 5] and tokenizer.eos_id == 5
    assert tokenizer.decode([0, 3, 5]) == "ab" and tokenizer.token(3) is None and tokenizer.token_bytes(3) == b""
    with pytest.raises(IdRangeError):
        tokenizer.decode([6])
    with pytest.raises(TokenizerError, match="must be in the vocabulary"):
        PipelineTokenizer({"model": model}, bos_token="<s>")


def test_new_special_tokens_follow_the_others() -> None:
    tokenizer = TOKENIZERS["gpt2"]
    more = tokenizer.with_special_tokens(["<|x|>"])
    assert more.special_tokens["<|x|>"] == tokenizer.vocab_size
    assert more.encode("a<|x|>", "all") == [*tokenizer.encode("a"), tokenizer.vocab_size]
    with pytest.raises(TokenizerError, match="must be new"):
        more.with_special_tokens(["<|x|>"])


def test_tokens_have_bytes() -> None:
    assert TOKENIZERS["gpt2"].token_bytes(TOKENIZERS["gpt2"].encode("é")[0])[:1] == b"\xc3"
    llama = TOKENIZERS["llama2"]
    byte = llama.token_id("<0xE2>")
    assert byte is not None and llama.token_bytes(byte) == b"\xe2"
    assert llama.token_bytes(llama.encode("the")[0]).startswith(b" ")


def test_a_long_text_without_spaces_is_encoded_in_little_time() -> None:
    tokenizer = TOKENIZERS["gemma"]
    ids = tokenizer.encode("a" * 50_000)
    assert tokenizer.decode(ids) == "a" * 50_000
    assert ids == tokenizer._model.ids("a" * 50_000)


def test_an_unknown_character_without_an_unknown_token_is_refused() -> None:
    words = PipelineTokenizer({"model": {"type": "WordLevel", "vocab": {"a": 0}, "unk_token": "<unk>"}})
    with pytest.raises(TokenizerError, match="'b' is not in the vocabulary"):
        words.encode("b")
    unigram = PipelineTokenizer({"model": {"type": "Unigram", "vocab": [["a", -1.0]], "unk_id": None}})
    with pytest.raises(TokenizerError, match="no unknown token"):
        unigram.encode("ab")


def test_empty_matches_make_no_pieces() -> None:
    model = {"type": "WordLevel", "vocab": {"x": 0, "<unk>": 1}, "unk_token": "<unk>"}
    for behavior, ids in (("Removed", [0]), ("Isolated", [1, 0, 1])):
        step = {"type": "Split", "pattern": {"Regex": "x*"}, "behavior": behavior, "invert": behavior == "Removed"}
        assert PipelineTokenizer({"model": model, "pre_tokenizer": step}).encode("axb") == ids


@each
def test_a_tokenizer_can_be_sent_to_another_process(family: str) -> None:
    sent = pickle.loads(pickle.dumps(TOKENIZERS[family]))
    assert sent.state() == TOKENIZERS[family].state()
    assert sent.encode_ordinary("It's 12 néw texts") == TOKENIZERS[family].encode_ordinary("It's 12 néw texts")
