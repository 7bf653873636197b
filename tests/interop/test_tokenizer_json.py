"""Hugging Face's tokenizer.json of a byte-level BPE: fields, spellings, refusals, and the ids of transformers."""

import json
from pathlib import Path
from typing import Any

import pytest

from tinygrad_llm.errors import CheckpointError, FormatError
from tinygrad_llm.formats import read_json_object
from tinygrad_llm.interop.tokenizer_json import read_tokenizer_json, write_tokenizer_json
from tinygrad_llm.text import BPETokenizer
from tinygrad_llm.text.vocabulary_files import (
    write_encoder_and_merges,
)

SPECIAL = ("<|endoftext|>", "### Response:", "[PAD]")
TOKENIZER = BPETokenizer.train("the cat, the hat: naïve 漢字 漢字 'tis the\n\n  end " * 3, 300, special_tokens=SPECIAL)


def test_the_written_files_have_the_fields_of_huggingface(tmp_path: Path) -> None:
    write_tokenizer_json(TOKENIZER, tmp_path, model_max_length=64)
    config = read_json_object(tmp_path / "tokenizer_config.json")
    assert config["eos_token"] == "<|endoftext|>"
    assert config["model_max_length"] == 64
    content = read_json_object(tmp_path / "tokenizer.json")
    assert [added["content"] for added in content["added_tokens"]] == list(SPECIAL)
    assert len(content["model"]["vocab"]) == TOKENIZER.vocab_size


def test_both_spellings_of_merges_are_read(tmp_path: Path) -> None:
    write_tokenizer_json(TOKENIZER, tmp_path, model_max_length=64)
    content = read_json_object(tmp_path / "tokenizer.json")
    content["model"]["merges"] = [merge.split(" ") for merge in content["model"]["merges"]]
    (tmp_path / "tokenizer.json").write_text(json.dumps(content))
    assert read_tokenizer_json(tmp_path / "tokenizer.json").ranks == TOKENIZER.ranks


def test_transformers_opens_it_to_the_same_ids(tmp_path: Path) -> None:
    transformers = pytest.importorskip("transformers")
    write_tokenizer_json(TOKENIZER, tmp_path, model_max_length=64)
    theirs = transformers.AutoTokenizer.from_pretrained(tmp_path)
    for text in ("the cat's hat  \n\n the 漢字 🙂 naïve", "the<|endoftext|>end ### Response: [PAD]", ""):
        assert theirs.encode(text) == TOKENIZER.encode(text, "all")


def test_what_transformers_writes_is_read(tmp_path: Path) -> None:
    transformers = pytest.importorskip("transformers")
    trained = BPETokenizer.train("the cat the hat", 262)
    write_encoder_and_merges(trained, tmp_path / "vocab.json", tmp_path / "merges.txt")
    theirs = transformers.GPT2TokenizerFast.from_pretrained(tmp_path)
    theirs.save_pretrained(tmp_path / "theirs")
    read = read_tokenizer_json(tmp_path / "theirs" / "tokenizer.json")
    for text in ("the cat's hat  naïve 漢字", "the<|endoftext|>end"):
        assert read.encode(text, "all") == theirs.encode(text)


def test_a_template_that_adds_nothing_is_accepted(tmp_path: Path) -> None:
    write_tokenizer_json(TOKENIZER, tmp_path, model_max_length=64)
    content = read_json_object(tmp_path / "tokenizer.json")
    text = {"Sequence": {"id": "A", "type_id": 0}}
    content["post_processor"] = {"type": "TemplateProcessing", "single": [text], "pair": [], "special_tokens": {}}
    (tmp_path / "tokenizer.json").write_text(json.dumps(content))
    assert read_tokenizer_json(tmp_path / "tokenizer.json").ranks == TOKENIZER.ranks


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        (("model",), None, "'model'"),
        (("model", "type"), "WordPiece", "WordPiece"),
        (("model", "dropout"), 0.1, "dropout"),
        (("model", "byte_fallback"), True, "byte_fallback"),
        (("model", "continuing_subword_prefix"), "##", "continuing_subword_prefix"),
        (("model", "vocab"), [], "'vocab'"),
        (("model", "vocab"), {}, "must join two known tokens"),
        (("model", "merges"), None, "'merges'"),
        (("model", "merges"), [], "no merge makes"),
        (("model", "merges"), ["a b c"], "two tokens"),
        (("model", "merges"), [["a", 1]], "two tokens"),
        (("model", "merges"), ["\U0001f642 a"], "stands|written in 256"),
        (("normalizer",), {"type": "NFC"}, "normalizer"),
        (("pre_tokenizer",), {"type": "Sequence"}, "pre_tokenizer"),
        (("pre_tokenizer", "add_prefix_space"), True, "add_prefix_space"),
        (("post_processor",), {"type": "TemplateProcessing"}, "post_processor"),
        (("post_processor",), {"type": "TemplateProcessing", "single": [{"SpecialToken": {}}]}, "post_processor"),
        (("post_processor",), {"type": "TemplateProcessing", "single": [{"Sequence": {}}] * 2}, "post_processor"),
        (("post_processor",), ["ByteLevel"], "post_processor"),
        (("added_tokens",), {}, "added_tokens"),
        (("added_tokens",), [5], "added_tokens"),
        (("added_tokens",), [{"content": "x"}], "integer 'id'"),
        (("added_tokens", 0, "lstrip"), True, "lstrip"),
        (("added_tokens", 0, "special"), False, "not special"),
        (("added_tokens", 0, "id"), 5, "has id 5"),
        (("added_tokens", 0, "content"), "[PAD]", "twice"),
    ],
)
def test_unsupported_settings_are_refused_by_name(path: Any, value: Any, message: str, tmp_path: Path) -> None:
    write_tokenizer_json(TOKENIZER, tmp_path, model_max_length=64)
    content = read_json_object(tmp_path / "tokenizer.json")
    place = content
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = value
    (tmp_path / "tokenizer.json").write_text(json.dumps(content))
    with pytest.raises(FormatError, match=message) as caught:
        read_tokenizer_json(tmp_path / "tokenizer.json")
    assert "tokenizer.json" in str(caught.value)


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(CheckpointError):
        write_tokenizer_json(TOKENIZER, tmp_path / "file" / "below")
