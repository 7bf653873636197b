"""Hugging Face's older files of a byte-level BPE: OPT's own numbering, special tokens, BOS, refusals."""

import json
from pathlib import Path
from typing import Any

import pytest

from tinygrad_llm.errors import FormatError
from tinygrad_llm.interop.huggingface_tokenizer import read_huggingface_tokenizer
from tinygrad_llm.text import BPETokenizer
from tinygrad_llm.text.vocabulary_files import merges_of, printable

TRAINED = BPETokenizer.train("low lower lowest, slow slower: naïve 漢字 " * 4, 290, special_tokens=[])
SIZE = 3 + len(TRAINED.ranks)
TEXTS = ["low slower  naïve 漢字 🙂\n\n", "a</s>low <pad>", ""]
OPT: dict[str, Any] = {
    "bos_token": {"content": "</s>", "lstrip": False},
    "eos_token": "</s>",
    "pad_token": "<pad>",
    "unk_token": "</s>",
    "add_bos_token": True,
    "add_prefix_space": False,
}


def write(folder: Path, settings: dict[str, Any] | None = OPT, **more: int) -> dict[str, int]:
    """The files of an OPT: special tokens first, then tokens in another order than that of the merges."""
    tokens = ["<s>", "<pad>", "</s>", *sorted(map(printable, TRAINED.ranks))]
    ids = {token: number for number, token in enumerate(tokens)} | more
    (folder / "vocab.json").write_text(json.dumps(ids))
    lines = [f"{printable(left)} {printable(right)}" for left, right in merges_of(TRAINED)]
    (folder / "merges.txt").write_text("\n".join(["#version: 0.2", *lines, ""]), encoding="utf-8")
    if settings is not None:
        (folder / "tokenizer_config.json").write_text(json.dumps(settings))
    return ids


def test_any_numbering_is_read(tmp_path: Path) -> None:
    ids = write(tmp_path)
    read: Any = read_huggingface_tokenizer(tmp_path)
    for text in ("low slower  naïve 漢字 🙂\n\n", "<s>"):
        assert read.encode(text, "all") == [ids[printable(TRAINED.token_bytes(one))] for one in TRAINED.encode(text)]
    assert read.encode("a</s>", "all") == [ids["a"], 2] and read.special_tokens == {"</s>": 2, "<pad>": 1}
    assert (read.bos_id, read.eos_id, read.template) == (2, 2, ([2], []))


def test_ids_are_those_of_transformers(tmp_path: Path) -> None:
    transformers = pytest.importorskip("transformers")
    write(tmp_path, OPT | {"bos_token": "</s>"})
    theirs = transformers.GPT2TokenizerFast.from_pretrained(tmp_path)
    read = read_huggingface_tokenizer(tmp_path)
    for text in TEXTS:
        assert read.encode(text, "all") == theirs.encode(text, add_special_tokens=False), text
        assert read.decode(read.encode(text, "all")) == text


def test_without_settings_only_the_end_of_text_is_special(tmp_path: Path) -> None:
    ids = write(tmp_path, None, **{"<|endoftext|>": SIZE})
    assert len(ids) == SIZE + 1
    read = read_huggingface_tokenizer(tmp_path)
    assert read.special_tokens == {"<|endoftext|>": SIZE} and read.end_of_text == SIZE


def test_added_tokens_have_ids_of_their_own(tmp_path: Path) -> None:
    write(tmp_path, {**OPT, "additional_special_tokens": ["<|x|>"]})
    (tmp_path / "added_tokens.json").write_text(json.dumps({"<|x|>": SIZE, "<y>": SIZE + 1}))
    read = read_huggingface_tokenizer(tmp_path)
    assert read.encode("<|x|><y>", "all") == [SIZE, SIZE + 1]
    assert "<|x|>" in read.special_tokens and "<y>" not in read.special_tokens


@pytest.mark.parametrize(
    ("settings", "more", "message"),
    [
        ({**OPT, "pad_token": "<none>"}, {}, "the special token '<none>' must be in"),
        ({**OPT, "eos_token": 3}, {}, "eos_token must be a token"),
        (OPT, {"<z>": 400}, f"the ids of {SIZE + 1} tokens must be 0..{SIZE}"),
        (OPT, {"a": 3.5}, "must be 0"),
    ],
)
def test_damaged_files_are_refused(settings: Any, more: Any, message: str, tmp_path: Path) -> None:
    write(tmp_path, settings, **more)
    with pytest.raises(FormatError, match=message):
        read_huggingface_tokenizer(tmp_path)


def test_damaged_merges_are_refused(tmp_path: Path) -> None:
    write(tmp_path)
    for content, message in ((b"a b c\n", "must be two tokens"), (b"\xff", "must be UTF-8"), (b"a zz\n", "'zz'")):
        (tmp_path / "merges.txt").write_bytes(content)
        with pytest.raises(FormatError, match=message):
            read_huggingface_tokenizer(tmp_path)
    (tmp_path / "merges.txt").unlink()
    with pytest.raises(FormatError, match=r"merges\.txt"):
        read_huggingface_tokenizer(tmp_path)
