"""The interface that all tokenizers share: special tokens, ids, blocks, and their file in a folder."""

import contextlib
import json
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinygrad_llm.errors import CheckpointError, DTypeError, FormatError, IdRangeError, ShapeError, TokenizerError
from tinygrad_llm.text import (
    BPETokenizer,
    CharTokenizer,
    SimpleTokenizerV1,
    SimpleTokenizerV2,
    Tokenizer,
    WordPieceTokenizer,
    build_vocabulary,
    load_tokenizer,
)
from tinygrad_llm.text.tokenizer import TOKENIZER_FILE

TEXT = 'One two, three; one-and-twenty.  Is it so?\n\n\tIt is -- "so" he said: \'tis (so)! naïve 漢字 🙂 '
ALPHABET = sorted(set(TEXT))

TOKENIZERS: list[Tokenizer] = [
    CharTokenizer.train(TEXT, special_tokens=("<|endoftext|>",)),
    SimpleTokenizerV1(build_vocabulary(TEXT)),
    SimpleTokenizerV2.train(TEXT),
    BPETokenizer.train(TEXT * 3, 300),
    WordPieceTokenizer(
        ["[UNK]", "[CLS]", "[SEP]", "<|endoftext|>", *"oneitsha", *"-,.;:?!'\"()", "##ne", "##e", "漢"],
        special_tokens=["[UNK]", "[CLS]", "[SEP]", "<|endoftext|>"],
    ),
]
every_tokenizer = pytest.mark.parametrize("tokenizer", TOKENIZERS, ids=lambda tokenizer: tokenizer.kind)
with_end_of_text = pytest.mark.parametrize(
    "tokenizer", [t for t in TOKENIZERS if t.end_of_text is not None], ids=lambda tokenizer: tokenizer.kind
)


@every_tokenizer
def test_ids_are_in_the_vocabulary_and_decode_from_every_kind_of_row(tokenizer: Any) -> None:
    ids = tokenizer.encode(TEXT)
    assert ids and all(type(number) is int and 0 <= number < tokenizer.vocab_size for number in ids)
    text = tokenizer.decode(ids)
    for row in (tuple(ids), np.array(ids), np.array(ids, dtype=np.uint16), tokenizer.encode_to_array(TEXT)):
        assert tokenizer.decode(row) == text
    array = tokenizer.encode_to_array(TEXT)
    assert array.tolist() == ids
    assert array.dtype == np.uint16
    assert tokenizer.decode([]) == ""
    assert tokenizer.encode("") == []
    assert tokenizer.encode_to_array("").shape == (0,)


@every_tokenizer
@pytest.mark.parametrize(
    ("ids", "error"),
    [
        ([-1], IdRangeError),
        ([0, 1 << 16], IdRangeError),
        ([1 << 70], IdRangeError),
        ([-(1 << 70), 0], IdRangeError),
        ([0.0], DTypeError),
        ([float("nan")], DTypeError),
        (np.array([1.5]), DTypeError),
        ([True], DTypeError),
        (["0"], DTypeError),
        ([None], DTypeError),
        ([1, "a"], DTypeError),
        ([[0, 1], [2]], DTypeError),
        ([[0, 1]], ShapeError),
        (3, ShapeError),
        ("text", ShapeError),
        (None, ShapeError),
    ],
)
def test_invalid_ids_are_refused(tokenizer: Any, ids: list[int], error: type) -> None:
    with pytest.raises(error):
        tokenizer.decode(ids)


@every_tokenizer
def test_the_bytes_of_one_token(tokenizer: Any) -> None:
    assert all(tokenizer.token_bytes(number) for number in range(tokenizer.vocab_size))
    assert tokenizer.token_bytes(np.int64(3)) == tokenizer.token_bytes(3)
    for just_outside in (tokenizer.token_bytes, lambda number: tokenizer.decode([0, number])):
        with pytest.raises(IdRangeError):
            just_outside(tokenizer.vocab_size)
    with pytest.raises(IdRangeError):
        tokenizer.token_bytes(-1)
    for wrong in (1.0, True, "1", None):
        with pytest.raises(DTypeError):
            tokenizer.token_bytes(wrong)


@every_tokenizer
@pytest.mark.parametrize("wrong", [b"bytes", 5, None, ["a"], "a\ud800b", "\udfff"])
def test_invalid_text_is_refused(tokenizer: Any, wrong: bytes | int) -> None:
    for encode in (tokenizer.encode, tokenizer.encode_ordinary, tokenizer.encode_to_array):
        with pytest.raises(TokenizerError):
            encode(wrong)


def test_a_lone_surrogate_is_named_with_its_position() -> None:
    with pytest.raises(TokenizerError, match=r"character 1 is the lone surrogate U\+D800"):
        TOKENIZERS[3].encode("é\ud800")


@with_end_of_text
def test_special_tokens_are_refused_unless_allowed(tokenizer: Any) -> None:
    text = "One two <|endoftext|> it is"
    end = tokenizer.end_of_text
    assert tokenizer.special_tokens["<|endoftext|>"] == end
    for refused in ((), set(), {"<|other|>"}):
        with pytest.raises(TokenizerError, match="endoftext"):
            tokenizer.encode(text, allowed_special=refused)
        with pytest.raises(TokenizerError, match="endoftext"):
            tokenizer.encode_to_array(text, allowed_special=refused)
    for allowed in ("all", {"<|endoftext|>"}, ["<|endoftext|>", "<|unknown name|>"]):
        ids = tokenizer.encode(text, allowed_special=allowed)
        assert ids.count(end) == 1
        assert tokenizer.encode_to_array(text, allowed_special=allowed).tolist() == ids
    with pytest.raises(TokenizerError, match="allowed_special"):
        tokenizer.encode(text, allowed_special="<|endoftext|>")


def test_ordinary_encoding_treats_a_special_token_as_text() -> None:
    tokenizer = BPETokenizer.train(TEXT, 300)
    ids = tokenizer.encode_ordinary("<|endoftext|>")
    assert tokenizer.end_of_text not in ids
    assert tokenizer.decode(ids) == "<|endoftext|>"


def test_the_longest_of_two_matching_special_tokens_wins() -> None:
    tokenizer = BPETokenizer.train("", 258, ("<|a|>", "<|a|>b"))
    assert tokenizer.encode("<|a|>b<|a|>", "all") == [257, 256]


def test_special_tokens_are_ids_of_the_vocabulary() -> None:
    tokenizer = TOKENIZERS[3]
    tokenizer.special_tokens["<|forged|>"] = 3
    assert "<|forged|>" not in tokenizer.special_tokens


@pytest.mark.parametrize("names", [["a", "a"], [""], [5], "<|single|>", ["\ud800"]])
def test_invalid_special_tokens_are_refused(names: list[Any] | str) -> None:
    with pytest.raises(TokenizerError):
        BPETokenizer.train("text", 300, special_tokens=names)


def blocks_of(text: str, cuts: list[int]) -> list[str]:
    places = sorted({0, *(cut % (len(text) + 1) for cut in cuts), len(text)})
    return [text[start:stop] for start, stop in pairwise(places)]


@every_tokenizer
@given(
    text=st.text([*ALPHABET, " ", " ", "\n"], max_size=60),
    cuts=st.lists(st.integers(0, 10_000), max_size=8),
)
def test_blocks_do_not_change_ids(tokenizer: Any, text: str, cuts: list[Any]) -> None:
    if tokenizer.kind == "words-v1":
        text = " ".join(word for word in text.split() if word in tokenizer.str_to_int)
    rows = list(tokenizer.encode_blocks(blocks_of(text, cuts)))
    assert [number for row in rows for number in row.tolist()] == tokenizer.encode(text)
    assert all(row.dtype == tokenizer.id_dtype for row in rows)


@given(
    parts=st.lists(st.sampled_from(["<| a b|>", "<|x|>", "<| ", "<|", "a", " ", "  ", "b|>", " b|>", "\n", "|>"])),
    cuts=st.lists(st.integers(0, 10_000), max_size=8),
)
def test_blocks_do_not_split_special_tokens(parts: list[Any], cuts: list[Any]) -> None:
    tokenizer = BPETokenizer.train("a  b", 260, ("<| a b|>", "<|x|>", "b|> "))
    text = "".join(parts)
    rows = list(tokenizer.encode_blocks(blocks_of(text, cuts), "all"))
    assert [number for row in rows for number in row.tolist()] == tokenizer.encode(text, "all")


@every_tokenizer
def test_a_saved_tokenizer_is_the_same_one(tokenizer: Any, tmp_path: Path) -> None:
    path = tokenizer.save(tmp_path / "run" / "deep")
    loaded = load_tokenizer(path.parent)
    assert type(loaded) is type(tokenizer)
    assert loaded.fingerprint() == tokenizer.fingerprint()
    assert loaded.encode(TEXT) == tokenizer.encode(TEXT)
    assert loaded.special_tokens == tokenizer.special_tokens
    assert [entry.name for entry in path.parent.iterdir()] == [TOKENIZER_FILE]


def test_different_tokenizers_have_different_fingerprints() -> None:
    assert len({tokenizer.fingerprint() for tokenizer in TOKENIZERS}) == len(TOKENIZERS)


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for folder in (tmp_path / "file", tmp_path / "file" / "below", "null\0byte"):
        with pytest.raises(CheckpointError):
            TOKENIZERS[0].save(folder)


def test_a_folder_without_a_tokenizer_is_named(tmp_path: Path) -> None:
    with pytest.raises(FormatError, match=TOKENIZER_FILE):
        load_tokenizer(tmp_path)
    with pytest.raises(FormatError):
        load_tokenizer("null\0byte")
    (tmp_path / TOKENIZER_FILE).mkdir()
    with pytest.raises(FormatError, match="must be a file"):
        load_tokenizer(tmp_path)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\xff",
        b"[]",
        b"{",
        b'{"version": 1}',
        b'{"version": NaN, "kind": "char"}',
        b'{"version": 1, "version": 1, "kind": "char"}',
        b'{"version": 2, "kind": "char"}',
        b'{"version": true, "kind": "char"}',
        b'{"version": 1, "kind": ["char"]}',
        b'{"version": 1, "kind": "pickle"}',
        b'{"version": 1, "kind": "char", "characters": ["ab"], "special_tokens": []}',
        b'{"version": 1, "kind": "char", "characters": ["a", "a"], "special_tokens": []}',
        b'{"version": 1, "kind": "char", "characters": ["a", "\\ud800"], "special_tokens": []}',
        b'{"version": 1, "kind": "char", "characters": ["a"], "special_tokens": ["a"]}',
        b'{"version": 1, "kind": "char", "characters": [["a"]], "special_tokens": [["a"]]}',
        b'{"version": 1, "kind": "words", "words": ["a"]}',
        b'{"version": 1, "kind": "words", "words": ["a", "a", "<|unk|>"]}',
        b'{"version": 1, "kind": "words-v1", "words": []}',
        b'{"version": 1, "kind": "words-v1", "words": [""]}',
        b'{"version": 1, "kind": "words-v1", "words": ["a b"]}',
        b'{"version": 1, "kind": "bpe", "tokens": [], "special_tokens": {}}',
        b'{"version": 1, "kind": "bpe", "tokens": [5], "special_tokens": {}}',
        b'{"version": 1, "kind": "wordpiece", "pieces": ["a"], "special_tokens": []}',
        b'{"version": 1, "kind": "wordpiece", "pieces": ["[UNK]"], "special_tokens": [], "lowercase": 1,'
        b'"strip_accents": null, "split_chinese": true}',
        b'{"version": 1, "kind": "gpt2", "tokens": ["!"], "special_tokens": {}}',
        b'{"version": 1, "kind": "bpe", "tokens": ["YQ==", "YQ=="], "special_tokens": {}}',
        b'{"version": ' + b"9" * 5000 + b', "kind": "char"}',
        b"[" * 100_000,
        b'{"a":' * 100_000,
    ],
)
def test_an_invalid_tokenizer_file_is_refused(content: bytes, tmp_path: Path) -> None:
    (tmp_path / TOKENIZER_FILE).write_bytes(content)
    with pytest.raises(FormatError, match=TOKENIZER_FILE):
        load_tokenizer(tmp_path)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=8,
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("fuzzed")


@every_tokenizer
@given(data=st.data())
def test_a_mutated_file_loads_or_gives_one_error(tokenizer: Any, folder: Path, data: Any) -> None:
    content = json.loads(json.dumps({"version": 1, "kind": tokenizer.kind, **tokenizer.state()}))
    key = data.draw(st.sampled_from(sorted(content)))
    if isinstance(content[key], list) and data.draw(st.booleans()):
        content[key][data.draw(st.integers(0, len(content[key]) - 1)) if content[key] else slice(0, 0)] = data.draw(
            JSON if content[key] else st.just([])
        )
    else:
        content[key] = data.draw(JSON)
    (folder / TOKENIZER_FILE).write_text(json.dumps(content))
    try:
        loaded = load_tokenizer(folder)
    except FormatError:
        return
    assert loaded.vocab_size > 0


@given(content=st.binary(max_size=200))
def test_random_bytes_are_refused(folder: Path, content: bytes) -> None:
    (folder / TOKENIZER_FILE).write_bytes(content)
    with pytest.raises(FormatError):
        load_tokenizer(folder)


@given(stop=st.integers(0, 5000), where=st.integers(0, 5000), byte=st.integers(0, 255))
def test_a_truncated_or_flipped_file_gives_one_error(folder: Path, stop: int, where: int, byte: int) -> None:
    path = TOKENIZERS[3].save(folder)
    whole = path.read_bytes()
    path.write_bytes(whole[: stop % len(whole)])
    with pytest.raises(FormatError):
        load_tokenizer(folder)
    flipped = bytearray(whole)
    flipped[where % len(whole)] = byte
    path.write_bytes(flipped)
    with contextlib.suppress(FormatError):
        load_tokenizer(folder)
