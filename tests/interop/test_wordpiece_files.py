"""Hugging Face's files of a WordPiece vocabulary: round trips, refusals, and the ids and texts of transformers."""

import json
import os
import unicodedata
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from wordpiece_vocabularies import LETTERS, SMALL, TEXTS

from tinygrad_llm.errors import CheckpointError, FormatError, TokenizerError
from tinygrad_llm.interop.huggingface_tokenizer import (
    expect_huggingface_tokenizer,
    read_huggingface_tokenizer,
    write_huggingface_tokenizer,
)
from tinygrad_llm.interop.wordpiece_files import read_vocab_txt
from tinygrad_llm.text import WordPieceTokenizer


def settings(folder: Path, **changes: Any) -> None:
    (folder / "tokenizer_config.json").write_text(json.dumps(changes))


@pytest.mark.parametrize("choices", [{}, {"lowercase": False}, {"strip_accents": False, "split_chinese": False}])
def test_files_hold_the_tokenizer(choices: Any, tmp_path: Path) -> None:
    tokenizer = WordPieceTokenizer(SMALL, **choices)
    paths = write_huggingface_tokenizer(tokenizer, tmp_path / "new", 12)
    assert {path.name for path in paths} == set(os.listdir(tmp_path / "new")) == {"vocab.txt", "tokenizer_config.json"}
    assert json.loads(paths[1].read_text())["model_max_length"] == 12
    read = read_huggingface_tokenizer(tmp_path / "new")
    assert isinstance(read, WordPieceTokenizer) and read.fingerprint() == tokenizer.fingerprint()


def test_a_vocabulary_alone_is_uncased_and_may_have_line_ends_of_windows(tmp_path: Path) -> None:
    (tmp_path / "vocab.txt").write_bytes("\r\n".join(SMALL).encode())
    assert read_vocab_txt(tmp_path / "vocab.txt").fingerprint() == WordPieceTokenizer(SMALL).fingerprint()
    settings(tmp_path, do_lower_case=False, mask_token={"content": "[MASK]", "lstrip": False})
    read = read_vocab_txt(tmp_path / "vocab.txt")
    assert not read.lowercase and read.encode("Naïve") == [SMALL.index("Naïve")]


@pytest.mark.parametrize(
    ("pieces", "changes", "message"),
    [
        (SMALL, {"do_lower_case": "no"}, "do_lower_case or lowercase must be true or false; got 'no'"),
        (SMALL, {"mask_token": "<mask>"}, r"mask_token must be '\[MASK\]'"),
        (SMALL, {"never_split": ["a"]}, "never_split empty"),
        (SMALL, {"added_tokens_decoder": {"99": {"content": "<new>"}}}, "must add nothing to the 21 pieces"),
        ([*SMALL, "the"], {}, r"vocab\.txt: .* id 21 is 'the' again"),
        ([*SMALL, "", "x"], {}, "id 21 is ''"),
        (["the"], {}, r"must have \[UNK\]"),
        (["\udcff"], {}, "must be UTF-8"),
    ],
)
def test_invalid_vocabulary_files_are_refused(pieces: Any, changes: Any, message: str, tmp_path: Path) -> None:
    (tmp_path / "vocab.txt").write_bytes("\n".join(pieces).encode("utf-8", "surrogateescape"))
    settings(tmp_path, **changes)
    with pytest.raises(FormatError, match=message):
        read_huggingface_tokenizer(tmp_path)


def test_a_vocabulary_that_the_files_cannot_hold_is_refused(tmp_path: Path) -> None:
    with pytest.raises(TokenizerError, match=r"\[PAD\], \[CLS\], \[SEP\], \[MASK\] is missing"):
        expect_huggingface_tokenizer(WordPieceTokenizer(["[UNK]"]))
    with pytest.raises(TokenizerError, match="none may hold a line end"):
        write_huggingface_tokenizer(WordPieceTokenizer([*SMALL, "a\nb"]), tmp_path)
    (tmp_path / "file").touch()
    with pytest.raises(CheckpointError):
        write_huggingface_tokenizer(WordPieceTokenizer(SMALL), tmp_path / "file")


@pytest.fixture(scope="module", params=[True, False], ids=["uncased", "cased"])
def theirs(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Any:
    transformers = pytest.importorskip("transformers")
    folder = tmp_path_factory.mktemp("theirs")
    write_huggingface_tokenizer(LETTERS[request.param], folder)
    return LETTERS[request.param], transformers.AutoTokenizer.from_pretrained(folder)


def test_ids_and_texts_are_those_of_transformers(theirs: Any, tmp_path: Path) -> None:
    ours, other = theirs
    for text in TEXTS:
        assert ours.framed(ours.encode(text, "all")) == other(text).input_ids, text
        ids = ours.encode(text, "all")
        if ids and not ours.pieces[ids[0]].startswith("##"):
            assert ours.decode(ids) == other.decode(ids, clean_up_tokenization_spaces=False), text
    other.save_pretrained(tmp_path)
    assert "vocab.txt" not in os.listdir(tmp_path)
    read = read_huggingface_tokenizer(tmp_path)
    for text in TEXTS:
        assert read.framed(read.encode(text, "all")) == other(text).input_ids, text


def test_a_real_text_has_the_ids_of_transformers(theirs: Any, data_folder: Path) -> None:
    ours, other = theirs
    for file in ("the-verdict.txt", "sms_spam_collection.tsv"):
        for line in (data_folder / file).read_text("utf-8").splitlines()[:1500]:
            assert ours.encode_ordinary(line) == other(line, add_special_tokens=False).input_ids, line


CLASSED_OTHERWISE = {0x166D, 0x1734, 0x1885, 0x1886}


def test_every_character_is_split_as_in_transformers(theirs: Any) -> None:
    ours, other = theirs
    normalize, split = other._tokenizer.normalizer.normalize_str, other._tokenizer.pre_tokenizer.pre_tokenize_str
    differing = set()
    for code in range(0x110000):
        if 0xD800 <= code < 0xE000 or unicodedata.ucd_3_2_0.category(chr(code)) == "Cn":
            continue
        text = f"a{chr(code)}b"
        if ours.split_words(text) != [word for word, _ in split(normalize(text))]:
            differing.add(code)
    assert differing <= CLASSED_OTHERWISE


OLD = st.characters(exclude_categories=["Cs"]).filter(
    lambda c: unicodedata.ucd_3_2_0.category(c) != "Cn" and ord(c) not in CLASSED_OTHERWISE
)


@given(text=st.text(OLD, max_size=60))
def test_any_text_has_the_ids_of_transformers(theirs: Any, text: str) -> None:
    ours, other = theirs
    assert ours.encode_ordinary(text) == other(text, add_special_tokens=False).input_ids
