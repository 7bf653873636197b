"""The byte pair encoding tokenizer, against tiktoken and on hard texts."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import regex
import tiktoken
from bpe_texts import GPT2_PATTERN, SCRIPTS, TOKENIZER, near_text
from hypothesis import given
from hypothesis import strategies as st

from tinygrad_llm.errors import ConfigError, TokenizerError
from tinygrad_llm.text import BPETokenizer
from tinygrad_llm.text.bpe_encoding import SPLIT_PATTERN

SINGLE_BYTES = {bytes([byte]): byte for byte in range(256)}


def characters_of_tiktoken(pattern: str, text: str) -> set[str]:
    """The characters of `text` that tiktoken's table has in a class: other characters match no pattern and vanish."""
    encoding = tiktoken.Encoding("class", pat_str=pattern, mergeable_ranks=SINGLE_BYTES, special_tokens={})
    return set(bytes(encoding.encode_ordinary(text)).decode())


@pytest.fixture(scope="module")
def classified_differently() -> set[str]:
    every = "".join(chr(code) for code in range(0x110000) if not 0xD800 <= code < 0xE000)
    differing: set[str] = set()
    for pattern in (r"\p{L}", r"\p{N}", r"\s"):
        differing |= characters_of_tiktoken(pattern, every) ^ set(regex.findall(pattern, every))
    return differing


def test_training_reports_and_counts_all_texts() -> None:
    seen: list[tuple[int, int]] = []
    tokenizer = BPETokenizer.train(["ab ab", "ab"], 259, progress=lambda done, total: seen.append((done, total)))
    assert tokenizer.vocab_size == 258
    assert tokenizer.ranks[b"ab"] == 256
    assert tokenizer.end_of_text == 257
    assert seen == [(1, 2)]


def test_training_leaves_special_tokens_out() -> None:
    tokenizer = BPETokenizer.train("<|endoftext|>" * 50, 300)
    assert tokenizer.vocab_size == 257


@pytest.mark.parametrize("vocab_size", [256, 0, -1, 300.0, "300", True, None])
def test_a_vocabulary_too_small_is_refused(vocab_size: bool | float | str) -> None:
    with pytest.raises(ConfigError, match="257"):
        BPETokenizer.train("text", vocab_size)


def test_invalid_training_texts_are_refused() -> None:
    with pytest.raises(ConfigError):
        BPETokenizer.train("text", 300, min_pair_count=0)
    for text in (None, 5, b"bytes", ["text", None], "\ud800"):
        with pytest.raises(TokenizerError):
            BPETokenizer.train(text, 300)


@given(near_text)
def test_the_readable_encoder_equals_tiktoken(text: str) -> None:
    theirs = tiktoken.Encoding(
        "theirs", pat_str=GPT2_PATTERN, mergeable_ranks=TOKENIZER.ranks, special_tokens=TOKENIZER.special_tokens
    )
    ids = TOKENIZER.encode(text)
    assert ids == theirs.encode_ordinary(text)
    assert ids == TOKENIZER.encode_readable(text)
    assert ids == TOKENIZER.encode_to_array(text).tolist()
    assert TOKENIZER.decode(ids) == text


@given(data=st.data())
def test_ids_agree_where_the_unicode_tables_agree(classified_differently: set[str], data: Any) -> None:
    text = data.draw(st.text().filter(lambda text: not classified_differently.intersection(text)))
    assert TOKENIZER.encode(text) == TOKENIZER.encode_readable(text)


def test_where_the_unicode_tables_differ_tiktoken_decides_and_decoding_restores_the_text(
    classified_differently: set[str],
) -> None:
    for character in sorted(classified_differently)[::97]:
        text = f"a {character}{character}b 1{character}"
        ids = TOKENIZER.encode(text)
        assert ids == TOKENIZER.tiktoken_encoding.encode_ordinary(text)
        assert TOKENIZER.decode(ids) == text
        assert TOKENIZER.decode(TOKENIZER.encode_readable(text)) == text


@given(st.text())
def test_decoding_restores_every_text(text: str) -> None:
    assert TOKENIZER.decode(TOKENIZER.encode(text)) == text
    assert TOKENIZER.decode(TOKENIZER.encode_to_array(text)) == text


@given(st.lists(st.integers(0, TOKENIZER.vocab_size - 1)))
def test_every_row_of_ids_decodes(ids: list[Any]) -> None:
    joined = b"".join(map(TOKENIZER.token_bytes, ids))
    assert TOKENIZER.decode(ids) == joined.decode("utf-8", errors="replace")


def test_a_cut_off_character_becomes_the_replacement_character() -> None:
    ids = TOKENIZER.encode_ordinary("Ω")
    assert len(ids) == 2
    assert TOKENIZER.decode(ids[:1]) == "\ufffd"


@pytest.mark.parametrize(
    "text",
    [
        " " * 300_000,
        " " * 300_000 + "x",
        "\n" * 300_000 + "x",
        "x" + " \n" * 150_000 + "<|endoftext|>" + " " * 300_000 + "\ny",
        "a" * 300_000,
        "é" * 150_000,
        "1" * 300_000,
        "!" * 300_000,
    ],
    ids=["spaces", "spaces and a word", "lines", "around a special token", "a", "é", "digits", "punctuation"],
)
def test_hundreds_of_thousands_of_equal_characters_are_encoded(text: str) -> None:
    ids = TOKENIZER.encode_to_array(text, "all")
    assert TOKENIZER.decode(ids) == text
    short = text[-100_000:]
    assert TOKENIZER.encode_ordinary(short) == TOKENIZER.encode_readable(short)


def test_one_long_piece_does_not_slow_training_down() -> None:
    random_letters = "".join(np.random.default_rng(0).choice(list("ACGT"), 100_000))
    tokenizer = BPETokenizer.train([random_letters, "a" * 100_000, " " * 100_000 + "x"], 800)
    assert tokenizer.vocab_size == 800


def test_new_special_tokens_follow_the_old_ids() -> None:
    size = TOKENIZER.vocab_size
    wider = TOKENIZER.with_special_tokens(["<|user|>", "### Response:"])
    assert wider.vocab_size == size + 2
    assert wider.special_tokens == TOKENIZER.special_tokens | {"<|user|>": size, "### Response:": size + 1}
    assert wider.encode("cat ### Response:", {"### Response:"}) == [*TOKENIZER.encode("cat "), size + 1]
    assert wider.encode(SCRIPTS) == TOKENIZER.encode(SCRIPTS)
    assert TOKENIZER.vocab_size == size
    for names in (["<|pad|>"], ["x", "x"], [""]):
        with pytest.raises(TokenizerError):
            TOKENIZER.with_special_tokens(names)


@pytest.mark.parametrize(
    ("ranks", "special", "message"),
    [
        ({}, {}, "256 are missing"),
        ({bytes([byte]): byte for byte in range(255)}, {}, "0xff"),
        (SINGLE_BYTES | {b"ab": 255}, {}, "255 is not"),
        (SINGLE_BYTES | {b"ab": 257}, {}, "257 is not"),
        (SINGLE_BYTES, {"xy": 300}, "300 is not"),
        (SINGLE_BYTES, {"xy": 5}, "5 is not"),
        (SINGLE_BYTES | {b"xy": 256}, {"xy": 257}, "'xy' is both"),
        (SINGLE_BYTES | {b"ab": 256.0}, {}, "256.0 is not"),
        (SINGLE_BYTES | {b"ab": -1}, {}, "-1 is not"),
        (SINGLE_BYTES | {b"": 256}, {}, "non-empty"),
        ({"a": 0}, {}, "bytes"),
        (None, {}, "bytes"),
        (SINGLE_BYTES, ["x"], "dict"),
        (SINGLE_BYTES, {"": 256}, "non-empty"),
        (SINGLE_BYTES, {"\ud800": 256}, "surrogate"),
    ],
)
def test_an_invalid_vocabulary_is_refused(ranks: dict[Any, Any], special: dict[str, Any], message: str) -> None:
    with pytest.raises(TokenizerError, match=message):
        BPETokenizer(ranks, special)


def test_special_tokens_may_have_lower_ids_than_the_bytes(tmp_path: Path) -> None:
    tokenizer = BPETokenizer({bytes([byte]): byte + 1 for byte in range(256)}, {"<s>": 0})
    assert tokenizer.encode("<s>A", "all") == [0, 66]
    assert BPETokenizer.from_state(tokenizer.state()).fingerprint() == tokenizer.fingerprint()


def test_neither_tiktoken_nor_regex_is_loaded_before_it_is_needed() -> None:
    import subprocess
    import sys

    code = "import sys, tinygrad_llm.text; print({'tiktoken', 'regex', 'urllib.request'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


def test_the_pattern_is_the_one_in_use() -> None:
    assert TOKENIZER.tiktoken_encoding._pat_str == SPLIT_PATTERN
