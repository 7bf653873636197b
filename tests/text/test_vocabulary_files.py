"""Vocabulary files of other projects: round trips, and one kind of error for every damaged file."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinygrad_llm.errors import CheckpointError, FormatError, TokenizerError
from tinygrad_llm.formats import read_json_object
from tinygrad_llm.interop.tokenizer_json import read_tokenizer_json, write_tokenizer_json
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
    write_tokenizer_json(TOKENIZER, folder, model_max_length=64)


READERS = {
    "encoder.json": lambda folder: read_encoder_and_merges(folder / "encoder.json", folder / "vocab.bpe", SPECIAL),
    "vocab.bpe": lambda folder: read_encoder_and_merges(folder / "encoder.json", folder / "vocab.bpe", SPECIAL),
    "ranks.tiktoken": lambda folder: read_tiktoken(folder / "ranks.tiktoken", TOKENIZER.special_tokens),
    "tokenizer.json": lambda folder: read_tokenizer_json(folder / "tokenizer.json"),
}
every_file = pytest.mark.parametrize("name", READERS)


@every_file
def test_what_is_written_is_read_back(name, tmp_path):
    write_all(tmp_path)
    read = READERS[name](tmp_path)
    assert read.ranks == TOKENIZER.ranks
    assert read.special_tokens == TOKENIZER.special_tokens


@every_file
def test_a_missing_file_is_named(name, tmp_path):
    write_all(tmp_path)
    (tmp_path / name).unlink()
    with pytest.raises(FormatError, match=name):
        READERS[name](tmp_path)


def test_gpt2s_files_are_written_byte_for_byte(data_folder, tmp_path):
    gpt2 = read_encoder_and_merges(data_folder / "gpt2" / "encoder.json", data_folder / "gpt2" / "vocab.bpe")
    write_encoder_and_merges(gpt2, tmp_path / "encoder.json", tmp_path / "vocab.bpe")
    assert (tmp_path / "vocab.bpe").read_bytes() == (data_folder / "gpt2" / "vocab.bpe").read_bytes()
    assert (tmp_path / "encoder.json").read_bytes() == (data_folder / "gpt2" / "encoder.json").read_bytes()


@given(st.binary(max_size=20))
def test_printable_bytes(token):
    assert from_printable(printable(token)) == token
    assert printable(token).isprintable()
    assert " " not in printable(token)


def test_a_merge_joins_the_two_parts_of_lower_rank():
    tokenizer = BPETokenizer({bytes([byte]): byte for byte in range(256)} | {b"ab": 256, b"bc": 257, b"abc": 258})
    assert merges_of(tokenizer) == [(b"a", b"b"), (b"b", b"c"), (b"ab", b"c")]


def test_a_token_without_a_merge_can_only_be_written_as_tiktoken(tmp_path):
    tokenizer = BPETokenizer({bytes([byte]): byte for byte in range(256)} | {b"abc": 256})
    assert tokenizer.encode("abc") == tokenizer.encode_readable("abc") == [256]
    with pytest.raises(TokenizerError, match=r"write this vocabulary as \.tiktoken"):
        write_tokenizer_json(tokenizer, tmp_path)
    write_tiktoken(tokenizer, tmp_path / "x.tiktoken")
    assert read_tiktoken(tmp_path / "x.tiktoken").ranks == tokenizer.ranks


def test_special_tokens_are_recognised_or_named(tmp_path):
    write_all(tmp_path)
    with pytest.raises(FormatError, match="### Response:"):
        read_encoder_and_merges(tmp_path / "encoder.json", tmp_path / "vocab.bpe")
    plain = BPETokenizer.train("", 258, ("<|endoftext|>", "[PAD]"))
    write_encoder_and_merges(plain, tmp_path / "encoder.json", tmp_path / "vocab.bpe")
    read = read_encoder_and_merges(tmp_path / "encoder.json", tmp_path / "vocab.bpe")
    assert read.special_tokens == {"<|endoftext|>": 256, "[PAD]": 257}


def test_the_written_files_have_the_fields_of_huggingface(tmp_path):
    write_all(tmp_path)
    config = read_json_object(tmp_path / "tokenizer_config.json")
    assert config["eos_token"] == "<|endoftext|>"
    assert config["model_max_length"] == 64
    content = read_json_object(tmp_path / "tokenizer.json")
    assert [added["content"] for added in content["added_tokens"]] == list(SPECIAL)
    assert len(content["model"]["vocab"]) == TOKENIZER.vocab_size


def test_both_spellings_of_merges_are_read(tmp_path):
    write_all(tmp_path)
    content = read_json_object(tmp_path / "tokenizer.json")
    content["model"]["merges"] = [merge.split(" ") for merge in content["model"]["merges"]]
    (tmp_path / "tokenizer.json").write_text(json.dumps(content))
    assert read_tokenizer_json(tmp_path / "tokenizer.json").ranks == TOKENIZER.ranks


def test_transformers_opens_it_to_the_same_ids(tmp_path):
    transformers = pytest.importorskip("transformers")
    write_all(tmp_path)
    theirs = transformers.AutoTokenizer.from_pretrained(tmp_path)
    for text in ("the cat's hat  \n\n the 漢字 🙂 naïve", "the<|endoftext|>end ### Response: [PAD]", ""):
        assert theirs.encode(text) == TOKENIZER.encode(text, "all")


def test_what_transformers_writes_is_read(tmp_path):
    transformers = pytest.importorskip("transformers")
    trained = BPETokenizer.train("the cat the hat", 262)
    write_encoder_and_merges(trained, tmp_path / "vocab.json", tmp_path / "merges.txt")
    theirs = transformers.GPT2TokenizerFast.from_pretrained(tmp_path)
    theirs.save_pretrained(tmp_path / "theirs")
    read = read_tokenizer_json(tmp_path / "theirs" / "tokenizer.json")
    for text in ("the cat's hat  naïve 漢字", "the<|endoftext|>end"):
        assert read.encode(text, "all") == theirs.encode(text)


def test_a_template_that_adds_nothing_is_accepted(tmp_path):
    write_all(tmp_path)
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
def test_unsupported_settings_are_refused_by_name(path, value, message, tmp_path):
    write_all(tmp_path)
    content = read_json_object(tmp_path / "tokenizer.json")
    place = content
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = value
    (tmp_path / "tokenizer.json").write_text(json.dumps(content))
    with pytest.raises(FormatError, match=message) as caught:
        read_tokenizer_json(tmp_path / "tokenizer.json")
    assert "tokenizer.json" in str(caught.value)


def test_merges_must_fit_the_ids(tmp_path):
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


def test_merges_must_be_in_the_order_of_ids(tmp_path):
    tokenizer = BPETokenizer({bytes([byte]): byte for byte in range(256)} | {b"ab": 256, b"cd": 257})
    write_encoder_and_merges(tokenizer, tmp_path / "encoder.json", tmp_path / "vocab.bpe")
    (tmp_path / "vocab.bpe").write_text("#version: 0.2\nc d\na b\n")
    with pytest.raises(FormatError, match="merge 1 makes id 256 after id 257"):
        read_encoder_and_merges(tmp_path / "encoder.json", tmp_path / "vocab.bpe")


def test_a_key_that_occurs_twice_is_named(tmp_path):
    (tmp_path / "twice.json").write_text('{"a": {"b": 1, "c": 2, "b": 3}}')
    with pytest.raises(FormatError, match="key 'b' appears twice"):
        read_json_object(tmp_path / "twice.json")


@pytest.mark.parametrize(
    "line", [b"YQ==", b"YQ== x", b"YQ== -1", b"!!! 256", b" 256", b"YQ== 97", b"YWI= 9999999999999", b"YWI= 300"]
)
def test_an_invalid_line_is_refused(line, tmp_path):
    write_tiktoken(BPETokenizer.train("", 257), tmp_path / "ranks.tiktoken")
    with open(tmp_path / "ranks.tiktoken", "ab") as file:
        file.write(line + b"\n")
    with pytest.raises(FormatError, match=r"ranks\.tiktoken"):
        read_tiktoken(tmp_path / "ranks.tiktoken")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("fuzzed")


@every_file
@given(data=st.data())
def test_a_damaged_file_is_read_or_gives_one_error(name, folder, data):
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


def test_a_folder_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(CheckpointError):
        write_tokenizer_json(TOKENIZER, tmp_path / "file" / "below")
