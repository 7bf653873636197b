"""Vocabulary files of other projects: round trips, and one kind of error for every damaged file."""

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinygrad_llm.errors import FormatError, TokenizerError
from tinygrad_llm.formats import read_json_object
from tinygrad_llm.interop.tokenizer_json import write_tokenizer_json
from tinygrad_llm.text import BPETokenizer
from tinygrad_llm.text.vocabulary_files import (
    from_printable,
    merges_of,
    printable,
    read_encoder_and_merges,
    read_tiktoken,
    write_encoder_and_merges,
    write_tiktoken,
)

SPECIAL = ("<|endoftext|>", "### Response:", "[PAD]")
TOKENIZER = BPETokenizer.train("the cat, the hat: naïve 漢字 漢字 'tis the\n\n  end " * 3, 300, special_tokens=SPECIAL)


def write_all(folder: Path) -> None:
    write_encoder_and_merges(TOKENIZER, folder / "encoder.json", folder / "vocab.bpe")
    write_tiktoken(TOKENIZER, folder / "ranks.tiktoken")


READERS = {
    "encoder.json": lambda folder: read_encoder_and_merges(folder / "encoder.json", folder / "vocab.bpe", SPECIAL),
    "vocab.bpe": lambda folder: read_encoder_and_merges(folder / "encoder.json", folder / "vocab.bpe", SPECIAL),
    "ranks.tiktoken": lambda folder: read_tiktoken(folder / "ranks.tiktoken", TOKENIZER.special_tokens),
}


every_file = pytest.mark.parametrize("name", READERS)


@every_file
def test_what_is_written_is_read_back(name: str, tmp_path: Path) -> None:
    write_all(tmp_path)
    read = READERS[name](tmp_path)
    assert read.ranks == TOKENIZER.ranks
    assert read.special_tokens == TOKENIZER.special_tokens


@every_file
def test_a_missing_file_is_named(name: str, tmp_path: Path) -> None:
    write_all(tmp_path)
    (tmp_path / name).unlink()
    with pytest.raises(FormatError, match=name):
        READERS[name](tmp_path)


def test_gpt2s_files_are_written_byte_for_byte(data_folder: Path, gpt2: BPETokenizer, tmp_path: Path) -> None:
    write_encoder_and_merges(gpt2, tmp_path / "encoder.json", tmp_path / "vocab.bpe")
    assert (tmp_path / "vocab.bpe").read_bytes() == (data_folder / "gpt2" / "vocab.bpe").read_bytes()
    assert (tmp_path / "encoder.json").read_bytes() == (data_folder / "gpt2" / "encoder.json").read_bytes()


@given(st.binary(max_size=20))
def test_printable_bytes(token: Any) -> None:
    assert from_printable(printable(token)) == token
    assert printable(token).isprintable()
    assert " " not in printable(token)


def test_a_merge_joins_the_two_parts_of_lower_rank() -> None:
    tokenizer = BPETokenizer({bytes([byte]): byte for byte in range(256)} | {b"ab": 256, b"bc": 257, b"abc": 258})
    assert merges_of(tokenizer) == [(b"a", b"b"), (b"b", b"c"), (b"ab", b"c")]


def test_a_token_without_a_merge_can_only_be_written_as_tiktoken(tmp_path: Path) -> None:
    tokenizer = BPETokenizer({bytes([byte]): byte for byte in range(256)} | {b"abc": 256})
    assert tokenizer.encode("abc") == tokenizer.encode_readable("abc") == [256]
    with pytest.raises(TokenizerError, match=r"write this vocabulary as \.tiktoken"):
        write_tokenizer_json(tokenizer, tmp_path)
    write_tiktoken(tokenizer, tmp_path / "x.tiktoken")
    assert read_tiktoken(tmp_path / "x.tiktoken").ranks == tokenizer.ranks


def test_special_tokens_are_recognised_or_named(tmp_path: Path) -> None:
    write_all(tmp_path)
    with pytest.raises(FormatError, match="### Response:"):
        read_encoder_and_merges(tmp_path / "encoder.json", tmp_path / "vocab.bpe")
    plain = BPETokenizer.train("", 258, ("<|endoftext|>", "[PAD]"))
    write_encoder_and_merges(plain, tmp_path / "encoder.json", tmp_path / "vocab.bpe")
    read = read_encoder_and_merges(tmp_path / "encoder.json", tmp_path / "vocab.bpe")
    assert read.special_tokens == {"<|endoftext|>": 256, "[PAD]": 257}


def test_merges_must_fit_the_ids(tmp_path: Path) -> None:
    write_all(tmp_path)
    lines = (tmp_path / "vocab.bpe").read_text(encoding="utf-8").split("\n")
    for changed, message in (
        ([lines[0], lines[2], lines[1], *lines[3:]], "rise with the order|two known tokens"),
        (lines[:-2], "no merge makes"),
        ([*lines[:2], *lines[1:]], "must join two known tokens"),
        ([*lines[:-1], "one"], "two tokens with a space"),
    ):
        (tmp_path / "vocab.bpe").write_text("\n".join(changed), encoding="utf-8")
        with pytest.raises(FormatError, match=message):
            READERS["vocab.bpe"](tmp_path)


def test_merges_must_be_in_the_order_of_ids(tmp_path: Path) -> None:
    tokenizer = BPETokenizer({bytes([byte]): byte for byte in range(256)} | {b"ab": 256, b"cd": 257})
    write_encoder_and_merges(tokenizer, tmp_path / "encoder.json", tmp_path / "vocab.bpe")
    (tmp_path / "vocab.bpe").write_text("#version: 0.2\nc d\na b\n")
    with pytest.raises(FormatError, match="merge 1 makes id 256 after id 257"):
        read_encoder_and_merges(tmp_path / "encoder.json", tmp_path / "vocab.bpe")


def test_a_key_that_occurs_twice_is_named(tmp_path: Path) -> None:
    (tmp_path / "twice.json").write_text('{"a": {"b": 1, "c": 2, "b": 3}}')
    with pytest.raises(FormatError, match="key 'b' appears twice"):
        read_json_object(tmp_path / "twice.json")


@pytest.mark.parametrize(
    "line", [b"YQ==", b"YQ== x", b"YQ== -1", b"!!! 256", b" 256", b"YQ== 97", b"YWI= 9999999999999", b"YWI= 300"]
)
def test_an_invalid_line_is_refused(line: bytes, tmp_path: Path) -> None:
    write_tiktoken(BPETokenizer.train("", 257), tmp_path / "ranks.tiktoken")
    with open(tmp_path / "ranks.tiktoken", "ab") as file:
        file.write(line + b"\n")
    with pytest.raises(FormatError, match=r"ranks\.tiktoken"):
        read_tiktoken(tmp_path / "ranks.tiktoken")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Any:
    return tmp_path_factory.mktemp("fuzzed")


@every_file
@given(data=st.data())
def test_a_damaged_file_is_read_or_gives_one_error(name: str, folder: Path, data: Any) -> None:
    write_all(folder)
    content = bytearray((folder / name).read_bytes())
    damage = data.draw(st.sampled_from(["cut", "flip", "insert", "random"]))
    place = data.draw(st.integers(0, len(content) - 1))
    if damage == "cut":
        del content[place:]
    elif damage == "flip":
        content[place] = data.draw(st.integers(0, 255))
    elif damage == "insert":
        content[place:place] = data.draw(st.binary(max_size=5) | st.sampled_from([b"[" * 9999, b"9" * 9999, b"NaN"]))
    else:
        content = data.draw(st.binary(max_size=100))
    (folder / name).write_bytes(content)
    try:
        tokenizer = READERS[name](folder)
    except FormatError as error:
        assert str(folder) in str(error)
    else:
        assert tokenizer.decode(tokenizer.encode_ordinary("the é")) == "the é"
