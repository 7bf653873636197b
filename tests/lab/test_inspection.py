"""The page of `inspect` holds every answer that its views ask for, and stays below its limit."""

import base64
import json
import re
import zlib
from typing import Any

import numpy as np
import pytest
from tiny_gpt import tiny

from tinygrad_llm.errors import ConfigError
from tinygrad_llm.lab import inspection, unpack
from tinygrad_llm.lab.inspection import inspected_page
from tinygrad_llm.lab.saving import body_text, prompt_requests
from tinygrad_llm.models import GPT
from tinygrad_llm.text import CharTokenizer

HOSTILE = "</script><b>\"'&\u2028\0\x1b<!--"
TOKENIZER = CharTokenizer(sorted(set(HOSTILE + "abcdefgh ")))


def model(**changes: Any) -> GPT:
    return tiny(vocab_size=TOKENIZER.vocab_size, context_length=40, dtype=np.float32, **changes)


def saved(page: bytes) -> dict:
    return json.loads(re.search(rb'<script type="application/json" id="saved">(.*?)</script>', page, re.S).group(1))


def answer(page: bytes, name: str) -> dict:
    """The answer to a request, decoded as the page does it."""
    (text,) = [value for key, value in saved(page)["answers"].items() if key.startswith(f"{name} ")]
    data = zlib.decompress(base64.b64decode(text.removeprefix("2:")))
    if text.startswith("2:"):
        half = len(data) // 2
        data = bytes(x for pair in zip(data[:half], data[half:], strict=False) for x in pair) + data[2 * half :]
    return unpack(data)


def test_the_page_answers_every_request_of_its_views() -> None:
    page, look, left_out = inspected_page(model(), TOKENIZER, "abc abca", "run")
    held = saved(page)
    assert left_out == [] and held["kind"] == "inspect" and held["title"] == "run on “abc abca”"
    keys = {f"{name} {body}" for name, body in prompt_requests("abc abca", "live")}
    keys |= {f"operation {body_text(prompt='abc abca', at='live', index=i)}" for i in answer(page, "backward")["order"]}
    assert keys == held["answers"].keys()
    assert answer(page, "look")["loss"] == look["loss"]


def test_hostile_text_is_data() -> None:
    page, _, _ = inspected_page(model(), TOKENIZER, HOSTILE, HOSTILE)
    assert page.count(b"</script>") == page.count(b"<script")
    inside = page.partition(b'id="saved">')[2].partition(b"</script>")[0]
    assert inside.isascii() and not set(inside) & set(b"<>&")
    assert "".join(token["text"] for token in answer(page, "look")["tokens"]) == HOSTILE


def test_the_page_fetches_nothing() -> None:
    page = inspected_page(model(), TOKENIZER, "abc", "run")[0].decode()
    assert "default-src 'none'" in page and "connect-src" not in page
    assert not re.search(r'<(?:script|img|link|iframe)[^>]*(?:src|href)="(?!data:)', page)


def test_heads_lose_bits_before_they_are_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """Weights and gradients become coarser, to half of their bits at most, and stay right within a step."""
    fine = answer(inspected_page(model(), TOKENIZER, "abcdefgh" * 5, "run")[0], "look")["heads"]
    monkeypatch.setattr(inspection, "ROOM_FOR_HEADS", 100)
    coarse = answer(inspected_page(model(), TOKENIZER, "abcdefgh" * 5, "run")[0], "look")["heads"]
    for name in ("shares", "gradients"):
        step = np.abs(fine[name]).max() / (65535 if name == "shares" else 32767) * 2**inspection.MOST_DROPPED
        assert 0 < np.abs(fine[name] - coarse[name]).max() <= 0.51 * step


@pytest.mark.slow
def test_144_heads_at_128_tokens_fit() -> None:
    gpt = tiny(vocab_size=TOKENIZER.vocab_size, context_length=128, embedding_dim=48, num_heads=12, num_layers=12)
    page, _, left_out = inspected_page(gpt, TOKENIZER, "abcdefgh" * 16, "run")
    heads = answer(page, "look")["heads"]
    assert heads["counts"] == [12] * 12 and heads["shares"].shape == heads["gradients"].shape == (144, 128 * 129 // 2)
    assert len(page) <= 5_000_000 and "tokens and heads" not in left_out


def test_what_does_not_fit_is_named() -> None:
    whole = inspected_page(model(), TOKENIZER, "abc abca", "run")[0]
    page, _, left_out = inspected_page(model(), TOKENIZER, "abc abca", "run", limit=len(whole) - 2_000)
    assert len(page) < len(whole) and len(left_out) == 1
    with pytest.raises(ConfigError, match="at least"):
        inspected_page(model(), TOKENIZER, "abc", "run", limit=100)


def test_short_prompts_are_refused() -> None:
    with pytest.raises(ConfigError, match="at least two tokens"):
        inspected_page(model(), TOKENIZER, "a", "run")
