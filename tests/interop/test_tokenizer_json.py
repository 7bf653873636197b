"""Hugging Face's tokenizer.json: fields, spellings, refusals, re-export, and the ids of transformers."""

import json
from pathlib import Path
from typing import Any

import pytest

from tinygrad_llm.errors import CheckpointError, FormatError
from tinygrad_llm.formats import read_json_object
from tinygrad_llm.interop.huggingface_tokenizer import read_huggingface_tokenizer
from tinygrad_llm.interop.tokenizer_json import tokenizer_from_json, write_tokenizer_json
from tinygrad_llm.text import BPETokenizer
from tinygrad_llm.text.pipeline import sentencepiece_bpe
from tinygrad_llm.text.vocabulary_files import (
    write_encoder_and_merges,
)

SPECIAL = ("<|endoftext|>", "### Response:", "[PAD]")
TOKENIZER = BPETokenizer.train("the cat, the hat: naïve 漢字 漢字 'tis the\n\n  end " * 3, 300, special_tokens=SPECIAL)
TEXTS = ["the cat's hat  \n\n the 漢字 🙂 naïve", "the<|endoftext|>end ### Response: [PAD]", ""]


def test_the_written_files_have_the_fields_of_huggingface(tmp_path: Path) -> None:
    write_tokenizer_json(TOKENIZER, tmp_path, model_max_length=64)
    config = read_json_object(tmp_path / "tokenizer_config.json")
    assert config["eos_token"] == "<|endoftext|>"
    assert config["model_max_length"] == 64
    content = read_json_object(tmp_path / "tokenizer.json")
    assert [added["content"] for added in content["added_tokens"]] == list(SPECIAL)
    assert len(content["model"]["vocab"]) == TOKENIZER.vocab_size


@pytest.mark.parametrize("as_pairs", [False, True])
def test_a_file_is_read_to_the_same_ids(as_pairs: bool, tmp_path: Path) -> None:
    write_tokenizer_json(TOKENIZER, tmp_path)
    content = read_json_object(tmp_path / "tokenizer.json")
    if as_pairs:
        content["model"]["merges"] = [merge.split(" ") for merge in content["model"]["merges"]]
        (tmp_path / "tokenizer.json").write_text(json.dumps(content))
    read = tokenizer_from_json(tmp_path / "tokenizer.json")
    for text in TEXTS:
        ids = read.encode(text, "all")
        assert ids == TOKENIZER.encode(text, "all") and read.decode(ids) == text
    assert read.vocab_size == TOKENIZER.vocab_size and read.special_tokens == TOKENIZER.special_tokens


def test_transformers_opens_it_to_the_same_ids(tmp_path: Path) -> None:
    transformers = pytest.importorskip("transformers")
    write_tokenizer_json(TOKENIZER, tmp_path, model_max_length=64)
    theirs = transformers.AutoTokenizer.from_pretrained(tmp_path)
    for text in TEXTS:
        assert theirs.encode(text) == TOKENIZER.encode(text, "all")


def test_what_transformers_writes_is_read(tmp_path: Path) -> None:
    transformers = pytest.importorskip("transformers")
    trained = BPETokenizer.train("the cat the hat", 262)
    write_encoder_and_merges(trained, tmp_path / "vocab.json", tmp_path / "merges.txt")
    theirs = transformers.GPT2TokenizerFast.from_pretrained(tmp_path)
    theirs.save_pretrained(tmp_path / "theirs")
    read = tokenizer_from_json(tmp_path / "theirs" / "tokenizer.json")
    for text in ("the cat's hat  naïve 漢字", "the<|endoftext|>end"):
        assert read.encode(text, "all") == theirs.encode(text)


MERGES = {"type": "BPE", "vocab": {"a": 0, "b": 1, "c": 2, "ab": 3, "bc": 4, "abc": 5}}


def test_merges_are_followed_as_listed_also_after_a_re_export(tmp_path: Path) -> None:
    (tmp_path / "tokenizer.json").write_text(json.dumps({"model": MERGES | {"merges": ["a b", "b c", "a bc"]}}))
    read = tokenizer_from_json(tmp_path / "tokenizer.json")
    assert read.encode("abc") == [3, 2]
    write_tokenizer_json(read, tmp_path / "again")
    assert tokenizer_from_json(tmp_path / "again" / "tokenizer.json").encode("abc") == [3, 2]
    whole = {"model": MERGES | {"merges": ["a b", "b c", "a bc"], "ignore_merges": True}}
    (tmp_path / "tokenizer.json").write_text(json.dumps(whole))
    assert tokenizer_from_json(tmp_path / "tokenizer.json").encode("abc") == [5]


def test_scores_are_exported_as_merges(tmp_path: Path) -> None:
    tokens = ["<unk>", "▁", "a", "b", "ab", "▁a", "▁ab"]
    tokenizer = sentencepiece_bpe(tokens, [0, -9, -8, -7, -3, -4, -5], [0], unknown=0, byte_fallback=False)
    write_tokenizer_json(tokenizer, tmp_path)
    read = read_huggingface_tokenizer(tmp_path)
    assert "scores" not in read_json_object(tmp_path / "tokenizer.json")["model"]
    for text in ("ab ab", "a b aab", "x ab"):
        assert read.encode(text) == tokenizer.encode(text)


def test_the_folders_settings_name_the_ends_of_a_text(tmp_path: Path) -> None:
    model = MERGES | {"merges": ["a b"]}
    (tmp_path / "tokenizer.json").write_text(json.dumps({"model": model}))
    assert read_huggingface_tokenizer(tmp_path).end_of_text is None
    settings = {"bos_token": {"content": "a"}, "eos_token": "bc"}
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(settings))
    read: Any = read_huggingface_tokenizer(tmp_path)
    assert (read.bos_id, read.eos_id, read.end_of_text) == (0, 4, 4)
    for wrong, message in (({"eos_token": 5}, "must be a token"), ({"eos_token": "</s>"}, "must be in the vocabulary")):
        (tmp_path / "tokenizer_config.json").write_text(json.dumps(wrong))
        with pytest.raises(FormatError, match=message):
            read_huggingface_tokenizer(tmp_path)


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        (("model",), None, "needs the field 'model'"),
        (("model", "type"), "Neural", "the type 'Neural' is not supported"),
        (("model", "dropout"), 0.1, "'dropout' must be unset"),
        (("model", "mystery"), True, "model has the field 'mystery'"),
        (("model", "byte_fallback"), 1, "'byte_fallback' must be true or false"),
        (("model", "vocab"), [], "'vocab' must be an object"),
        (("model", "vocab"), {}, "must be in the vocabulary"),
        (("model", "vocab"), {"a": 0, "b": 0}, "ids of their own"),
        (("model", "vocab"), {"a": 1 << 40}, "the id of 'a' must be in 0"),
        (("model", "merges"), None, "'merges'"),
        (("model", "merges"), ["a b c"], r"merges\[0\] must be two tokens"),
        (("model", "merges"), [["a", 1]], "two tokens"),
        (("model", "merges"), ["\U0001f642 a"], "must be in the vocabulary"),
        (("model", "unk_token"), "<unk>", "unk_token '<unk>' must be in the vocabulary"),
        (("normalizer",), {"type": "NFCX"}, "normalizer: the type 'NFCX' is not supported"),
        (("normalizer",), {"type": "Replace", "pattern": {"Regex": "(a"}, "content": ""}, "the pattern"),
        (("normalizer",), {"type": "Replace", "pattern": {}, "content": ""}, "either 'String' or 'Regex'"),
        (("pre_tokenizer",), {"type": "Sequence"}, "needs the field 'pretokenizers'"),
        (("pre_tokenizer",), {"type": "Sequence", "pretokenizers": [{"type": "?"}]}, r"pretokenizers\[0\]: the type"),
        (("pre_tokenizer", "add_prefix_space"), 3, "'add_prefix_space' must be true or false"),
        (("post_processor",), {"type": "TemplateProcessing"}, "needs the field 'single'"),
        (("post_processor",), {"type": "TemplateProcessing", "single": [{"SpecialToken": {}}]}, "needs the field 'id'"),
        (("post_processor",), {"type": "TemplateProcessing", "single": []}, "must have the text A once"),
        (("post_processor",), ["ByteLevel"], "post_processor must be an object"),
        (("post_processor",), {"type": "BertProcessing", "cls": ["x", 999], "sep": ["y", 0]}, "the id 999 must be"),
        (("decoder",), {"type": "Strip", "content": "ab", "start": 0, "stop": 0}, "'content' must be one character"),
        (("added_tokens",), {}, "added_tokens must be a list"),
        (("added_tokens",), [5], r"added_tokens\[0\] must be an object"),
        (("added_tokens",), [{"content": "x"}], "needs the field 'id'"),
        (("added_tokens", 0, "id"), 5, "has the id 5 here"),
        (("added_tokens", 0, "content"), "[PAD]", "the id"),
        (("extra",), 1, "the definition has the field 'extra'"),
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
        tokenizer_from_json(tmp_path / "tokenizer.json")
    assert "tokenizer.json" in str(caught.value)


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(CheckpointError):
        write_tokenizer_json(TOKENIZER, tmp_path / "file" / "below")
