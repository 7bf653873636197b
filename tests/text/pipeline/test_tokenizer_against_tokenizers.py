"""20,000 random texts per family, and each stage with its settings, compared with the package tokenizers."""

import json
import random
from pathlib import Path
from typing import Any

import pytest
from tokenizer_families import FAMILIES, definition
from tokenizer_texts import random_text

from tinygrad_llm.interop import tokenizer_from_json
from tinygrad_llm.text.pipeline import PipelineTokenizer

TEXTS = 20_000


def expect_equal(content: dict[str, Any], ours: PipelineTokenizer, texts: int, seed: str) -> None:
    library = pytest.importorskip("tokenizers").Tokenizer.from_str(json.dumps(content))
    dice = random.Random(seed)
    specials = [token["content"] for token in content["added_tokens"]]
    for _ in range(texts):
        text = random_text(dice, specials)
        theirs = library.encode(text, add_special_tokens=False)
        assert ours.encode(text, allowed_special="all") == theirs.ids, ascii(text)
        assert ours.offsets(text) == theirs.offsets, ascii(text)
        mixed = [*theirs.ids, *(dice.randrange(ours.vocab_size) for _ in range(3))]
        assert ours.decode(mixed) == library.decode(mixed, skip_special_tokens=False), mixed


@pytest.mark.slow
@pytest.mark.parametrize("family", FAMILIES)
def test_random_texts(family: str, tmp_path: Path) -> None:
    content = definition(family, pytest.importorskip("tokenizers"), vocab_size=600)
    (tmp_path / "tokenizer.json").write_text(json.dumps(content))
    expect_equal(content, tokenizer_from_json(tmp_path / "tokenizer.json"), TEXTS // 4, family)
    again = definition(family, pytest.importorskip("tokenizers"), vocab_size=450)
    expect_equal(again, PipelineTokenizer(again), TEXTS - TEXTS // 4, f"{family} again")


PATTERNS = [
    *(r"\w+", r"[^\w\s]", r"\W", r"\s", r"\d{3}", r"[A-Z][a-z]*", r"(?=(\d{3})+(?!\d))", r"^\w|\w$", r"[[:punct:]]"),
    *(
        r"[aeiou&&[^e]]",
        r"\h{2}",
        r"x*",
        r"(?<=a)b|(?<!e)r",
        r"(?m:.)",
        r"a{1,2}+",
        r"(?i)straße|ß",
        r"\p{^L}+",
        r"[一-龥]+",
    ),
]
BEHAVIORS = ["Removed", "Isolated", "MergedWithPrevious", "MergedWithNext", "Contiguous"]


@pytest.mark.slow
@pytest.mark.parametrize("invert", [False, True])
@pytest.mark.parametrize("behavior", BEHAVIORS)
def test_every_pattern_and_behavior(behavior: str, invert: bool) -> None:
    library = pytest.importorskip("tokenizers")
    base = definition("words", library, vocab_size=300)
    for pattern in PATTERNS:
        step = {"type": "Split", "pattern": {"Regex": pattern}, "behavior": behavior, "invert": invert}
        content = base | {"normalizer": None, "pre_tokenizer": step}
        expect_equal(content, PipelineTokenizer(content), 100, pattern)


NORMALIZERS: list[dict[str, Any]] = [
    *({"type": kind} for kind in ("NFC", "NFD", "NFKC", "NFKD", "Nmt", "Lowercase", "StripAccents", "ByteLevel")),
    *({"type": "Strip", "strip_left": left, "strip_right": not left} for left in (False, True)),
    *({"type": "Replace", "pattern": {"Regex": pattern}, "content": "é▁"} for pattern in PATTERNS),
]


@pytest.mark.slow
@pytest.mark.parametrize("normalizer", NORMALIZERS, ids=str)
def test_every_normalizer(normalizer: dict[str, Any]) -> None:
    library = pytest.importorskip("tokenizers")
    content = definition("llama2", library, vocab_size=300) | {"normalizer": normalizer}
    expect_equal(content, PipelineTokenizer(content), 300, str(normalizer))


@pytest.mark.slow
def test_every_character_is_normalized_and_split_alike() -> None:
    library = pytest.importorskip("tokenizers")
    base = definition("words", library, vocab_size=300)
    steps: list[dict[str, Any]] = [
        *({"type": kind} for kind in ("Whitespace", "WhitespaceSplit", "BertPreTokenizer")),
        *({"type": "Digits", "individual_digits": True}, {"type": "Punctuation", "behavior": "Isolated"}),
    ]
    codes = [code for code in range(0x110000) if not 0xD800 <= code < 0xE000]
    for step in steps:
        content = base | {"normalizer": None, "pre_tokenizer": step, "added_tokens": []}
        theirs, ours = library.Tokenizer.from_str(json.dumps(content)), PipelineTokenizer(content)
        for start in range(0, len(codes), 997):
            text = "".join(f"a{chr(code)}b" for code in codes[start : start + 997])
            assert ours.offsets(text) == theirs.encode(text, add_special_tokens=False).offsets, (step, start)
