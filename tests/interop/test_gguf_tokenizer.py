"""Tokenizers in GGUF files: both kinds, every name of a way to split, and refusal by name."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from gguf_files import BPE_TOKENIZER, BPE_TOKENS, SENTENCEPIECE_TOKENIZER, gguf_bytes

from tinygrad_llm.errors import FormatError
from tinygrad_llm.formats import GGUF, read_gguf
from tinygrad_llm.interop.gguf_splits import SPLITS
from tinygrad_llm.interop.gguf_tokenizer import end_ids, named_tokens, read_gguf_tokenizer, template_source
from tinygrad_llm.text.vocabulary_files import character_of_byte

CHARACTERS = character_of_byte()


def opened(path: Path, tokenizer: dict[str, Any], **changes: Any) -> GGUF:
    """A file with this tokenizer; changes to its keys after tokenizer.ggml., None to leave one out."""
    metadata = tokenizer | {f"tokenizer.ggml.{name}": value for name, value in changes.items()}
    path.write_bytes(gguf_bytes({key: value for key, value in metadata.items() if value is not None}))
    return read_gguf(path)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "x.gguf"


def test_byte_level_merges_in_their_order(path: Path) -> None:
    tokenizer = read_gguf_tokenizer(opened(path, BPE_TOKENIZER))
    assert tokenizer.encode("ab ab") == [4, 3, 4]  # "a b" is before "Ġ a"
    assert tokenizer.encode("a a") == [0, 5]
    text = "ab a<|im_end|>\nc"
    assert tokenizer.encode(text, allowed_special="all") == [4, 5, 8, 9, 2]
    assert tokenizer.decode([4, 5, 8, 9, 2]) == text
    assert tokenizer.vocab_size == len(BPE_TOKENS)
    assert tokenizer.special_tokens == {"<|endoftext|>": 6, "<|im_start|>": 7, "<|im_end|>": 8}
    assert (tokenizer.bos_id, tokenizer.eos_id, tokenizer.template) == (6, 8, ([], []))


def test_sentencepiece_merges_by_score(path: Path) -> None:
    tokenizer = read_gguf_tokenizer(opened(path, SENTENCEPIECE_TOKENIZER))
    assert tokenizer.encode("ab") == [6, 9]  # ▁, ab: the score of ab is above that of ▁a
    assert tokenizer.encode("b a") == [6, 8, 10]
    assert tokenizer.encode("Aé") == [6, 3, 4, 5]  # bytes
    assert tokenizer.encode("Ω") == [6, 0]  # a character whose bytes are no tokens
    assert tokenizer.encode("a<user>b") in ([10, 11, 8], [10, 11, 6, 8])  # with a space or without, as the library does
    assert tokenizer.decode([6, 9, 10]) == "ab a"
    assert tokenizer.template == ([1], [])


def test_sentencepiece_without_a_space_before(path: Path) -> None:
    tokenizer = read_gguf_tokenizer(opened(path, SENTENCEPIECE_TOKENIZER, add_space_prefix=False, add_bos_token=False))
    assert tokenizer.encode("ab a") == [9, 10]
    assert tokenizer.decode([9, 10]) == "ab a"
    assert tokenizer.template == ([], [])


def test_unused_tokens_are_not_merged(path: Path) -> None:
    types = [2, 3, 3, 6, 6, 6, 1, 1, 1, 5, 1, 4]  # "ab" is unused
    tokenizer = read_gguf_tokenizer(opened(path, SENTENCEPIECE_TOKENIZER, token_type=types))
    assert tokenizer.encode("ab") == [10, 8]


@pytest.mark.parametrize(("begins", "ends"), [(True, True), (True, False), (False, True), (False, False)])
@pytest.mark.parametrize("kind", [BPE_TOKENIZER, SENTENCEPIECE_TOKENIZER])
def test_what_begins_and_ends_a_text(kind: dict[str, Any], begins: bool, ends: bool, path: Path) -> None:
    tokenizer = read_gguf_tokenizer(opened(path, kind, add_bos_token=begins, add_eos_token=ends))
    bos, eos = kind["tokenizer.ggml.bos_token_id"], kind["tokenizer.ggml.eos_token_id"]
    assert tokenizer.template == ([bos] * begins, [eos] * ends)


def test_a_llama_3_begins_texts_with_bos_unless_the_file_says_otherwise(path: Path) -> None:
    changes = {"pre": "llama-bpe", "add_bos_token": None}
    assert read_gguf_tokenizer(opened(path, BPE_TOKENIZER, **changes)).template == ([6], [])
    assert read_gguf_tokenizer(opened(path, BPE_TOKENIZER, add_bos_token=None)).template == ([], [])


def test_a_file_without_types_has_no_special_tokens(path: Path) -> None:
    file = opened(path, BPE_TOKENIZER, token_type=None)
    assert read_gguf_tokenizer(file).special_tokens == {}
    assert end_ids(file) == (8,)


def test_ids_that_end_a_turn(path: Path) -> None:
    assert end_ids(opened(path, BPE_TOKENIZER)) == (8, 6)  # the named one, and a known control token
    assert end_ids(opened(path, BPE_TOKENIZER, eos_token_id=6, eot_token_id=7, eom_token_id=6)) == (6, 7, 8)
    assert end_ids(opened(path, SENTENCEPIECE_TOKENIZER)) == (2,)
    ordinary = [1] * len(BPE_TOKENS)
    assert end_ids(opened(path, BPE_TOKENIZER, eos_token_id=None, token_type=ordinary)) == ()


def test_chat_template(path: Path) -> None:
    assert template_source(opened(path, BPE_TOKENIZER)) is None
    assert template_source(opened(path, {**BPE_TOKENIZER, "tokenizer.chat_template": "{{ 1 }}"})) == "{{ 1 }}"
    with pytest.raises(FormatError, match=r"tokenizer.chat_template must be a string"):
        template_source(opened(path, {**BPE_TOKENIZER, "tokenizer.chat_template": 3}))
    assert named_tokens(opened(path, BPE_TOKENIZER)) == {"bos_token": "<|endoftext|>", "eos_token": "<|im_end|>"}


# What each way to split does to one text: the pieces, written with | between them.
TEXT = "Hello HELLO'S iPad's x1234 \n\n y+=!? É一"
PIECES = {
    "gpt-2": "Hello| HELLO|'|S| iPad|'s| x|1234| \n\n| y|+=!?| É一",
    "smollm": "Hello| HELLO|'|S| iPad|'s| x|1|2|3|4| \n\n| y|+=!?| É一",
    "llama-bpe": "Hello| HELLO|'S| iPad|'s| x|123|4| \n\n| y|+=!?| É一",
    "dbrx": "Hello| HELLO|'S| iPad|'s| x|123|4| \n\n| y|+=!?| É一",
    "qwen2": "Hello| HELLO|'S| iPad|'s| x|1|2|3|4| \n\n| y|+=!?| É一",
    "deepseek-r1-qwen": "Hello| HELLO|'S| iPad|'s| x|1|2|3|4| \n\n| y|+=!?| É一",
    "tekken": "Hello| HELLO|'S| i|Pad|'s| x|1|2|3|4| \n\n| y|+=!?| É一",
    "gpt-4o": "Hello| HELLO'S| i|Pad's| x|123|4| \n\n| y|+=!?| É一",
    "seed-coder": "Hello| HELLO|'S| iPad|'s| x|1|2|3|4| \n\n| y|+=!?| É一",
    "deepseek-v3": "Hello| HELLO|'S| iPad|'s| x|123|4| \n\n| y|+=!?| É|一",
    "deepseek-coder": "Hello| HELLO|'|S| iPad|'|s| x|1|2|3|4| |\n|\n| y|+=|!?| É|一",
    "falcon": "Hello| HELLO|'|S| iPad|'|s| x|123|4| \n\n| y|+=!?| É一",
    "default": "Hello| HELLO|'|S| iPad|'|s| x|123|4| \n\n| y|+=!?| É一",
    "bloom": "Hello| HELLO'S| iPad's| x1234| \n\n| y+=|!?| É一",
    "viking": "Hello| HELLO'S| iPad's| x|1|2|3|4| \n\n| y+=|!?| É一",
}


@pytest.mark.parametrize("name", list(SPLITS))
def test_every_name_of_a_way_to_split(name: str, path: Path) -> None:
    """With a token for each byte and no merges but those that join everything, the pieces would be hidden: so each
    piece is encoded and the ends of pieces are found by merging any two bytes of a piece."""
    same = next(key for key in PIECES if SPLITS[key].patterns == SPLITS[name].patterns)
    pieces = PIECES[same].split("|")
    assert "".join(pieces) == TEXT
    tokens, merges = list(CHARACTERS), []
    for piece in pieces:  # merge each piece from the left, so that a piece that is split in the same way is one token
        spelled = "".join(CHARACTERS[byte] for byte in piece.encode())
        for end in range(2, len(spelled) + 1):
            if spelled[:end] not in tokens:
                tokens.append(spelled[:end])
                merges.append(f"{spelled[: end - 1]} {spelled[end - 1]}")
    whole = "".join(CHARACTERS[byte] for byte in TEXT.encode())
    for end in range(2, len(whole) + 1):  # and across pieces, if nothing were split
        if whole[:end] not in tokens:
            tokens.append(whole[:end])
            merges.append(f"{whole[: end - 1]} {whole[end - 1]}")
    changes = {"tokens": tokens, "merges": merges, "token_type": [1] * len(tokens), "pre": name}
    named = {"bos_token_id": None, "eos_token_id": None, "add_bos_token": None}
    tokenizer = read_gguf_tokenizer(opened(path, BPE_TOKENIZER, **changes, **named))
    assert [tokenizer.decode([one]) for one in tokenizer.encode(TEXT)] == pieces


def test_a_llama_3_takes_a_piece_that_is_a_token_whole(path: Path) -> None:
    tokens, named = ["a", "b", "c", "ab", "bc", "abc"], {"bos_token_id": None, "eos_token_id": None}
    changes = {"tokens": tokens, "merges": ["a b", "b c", "a bc"], "token_type": [1] * 6, "add_bos_token": None} | named
    assert read_gguf_tokenizer(opened(path, BPE_TOKENIZER, pre="llama-bpe", **changes)).encode("abc") == [5]
    assert read_gguf_tokenizer(opened(path, BPE_TOKENIZER, pre="dbrx", **changes)).encode("abc") == [3, 2]


def test_qwen_composes_characters_first(path: Path) -> None:
    tokens = [*CHARACTERS, "".join(CHARACTERS[byte] for byte in "é".encode())]
    merges = [f"{tokens[-1][0]} {tokens[-1][1]}"]
    changes = {"tokens": tokens, "merges": merges, "token_type": [1] * 257}
    named = {"bos_token_id": None, "eos_token_id": None, "add_bos_token": None}
    composed = read_gguf_tokenizer(opened(path, BPE_TOKENIZER, pre="qwen2", **changes, **named))
    assert composed.encode("e\u0301") == [256]
    plain = read_gguf_tokenizer(opened(path, BPE_TOKENIZER, pre="llama-bpe", **changes, **named))
    assert len(plain.encode("e\u0301")) == 3


REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "kind": ({"model": "bert"}, "model must be gpt2 or llama.*got 'bert'"),
    "no kind": ({"model": None}, "model must be a string; got None"),
    "unknown split": ({"pre": "superbpe"}, "pre must be one of gpt-2, .*got 'superbpe'"),
    "no split": ({"pre": None}, "pre must be a string; got None"),
    "no tokens": ({"tokens": None}, "tokens must be an array of strings; got None"),
    "numbers for tokens": ({"tokens": [1, 2]}, "tokens must be an array of strings"),
    "empty": ({"tokens": []}, "tokens must be"),
    "a token twice": ({"tokens": ["a"] * 10}, "tokens must be at least one string, none twice"),
    "types of others": ({"token_type": [1, 1]}, "token_type must have a number for each of the 10 tokens"),
    "type 7": ({"token_type": [7] * 10}, "token_type must be numbers from 1 to 6"),
    "no merges": ({"merges": None}, "merges must be an array of strings; got None"),
    "half a merge": ({"merges": ["a"]}, "merge"),
    "merge of no token": ({"merges": ["a c"]}, "merge"),
    "end beyond the tokens": ({"eos_token_id": 10}, "eos_token_id must be below the number of tokens, 10; got 10"),
    "end in words": ({"eos_token_id": "</s>"}, "eos_token_id must be an integer; got '</s>'"),
    "beginning": ({"add_bos_token": 1}, "add_bos_token must be true or false; got 1"),
    "white space": ({"remove_extra_whitespaces": True}, "remove_extra_whitespaces must be unset"),
    "normalisation": ({"precompiled_charsmap": [1, 2]}, "precompiled_charsmap must be unset"),
}


@pytest.mark.parametrize("name", list(REFUSED))
def test_what_is_not_supported_is_refused_by_name(name: str, path: Path) -> None:
    changes, message = REFUSED[name]
    with pytest.raises(FormatError, match=f"(?s)x.gguf.*({message})") as caught:
        read_gguf_tokenizer(opened(path, BPE_TOKENIZER, **changes))
    assert len(str(caught.value)) < 900


@pytest.mark.parametrize("scores", [None, [1.0], [1, 2, 3]])
def test_scores_must_be_numbers_of_all_tokens(scores: Any, path: Path) -> None:
    with pytest.raises(FormatError, match="scores must have a number for each of the 12 tokens"):
        read_gguf_tokenizer(opened(path, SENTENCEPIECE_TOKENIZER, scores=scores))
