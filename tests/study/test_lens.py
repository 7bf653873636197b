"""The numbers of the lens are right, hostile text stays text, and the page passes its selftest in a browser."""

import html
import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tiny_gpt import tiny

from tinygrad_llm import Tensor
from tinygrad_llm.errors import ConfigError
from tinygrad_llm.models import EncoderDecoder, Llama, LlamaConfig
from tinygrad_llm.models.encoder_decoder import EncoderDecoderConfig
from tinygrad_llm.models.gpt import GPT
from tinygrad_llm.nn import attention
from tinygrad_llm.ops.cross_entropy import cross_entropy
from tinygrad_llm.study import lens
from tinygrad_llm.study.attention_weights import watch_attention_weights
from tinygrad_llm.text import CharTokenizer
from tinygrad_llm.verify.model_cases import small_config

HOSTILE = "</script><b>\"'&\u2028\0\x1b<!--"
TOKENIZER = CharTokenizer(sorted(set(HOSTILE + "abcdefgh ")))
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


def model(**changes: Any) -> GPT:
    return tiny(vocab_size=TOKENIZER.vocab_size, context_length=40, dtype=np.float32, **changes)


def embedded(page: str) -> dict:
    return json.loads(re.search(r'<script type="application/json" id="data">(.*?)</script>', page, re.S).group(1))


def triangle(size: int, flat: list) -> np.ndarray:
    full = np.zeros((size, size))
    full[np.tril_indices(size)] = [0 if x is None else x for x in flat]
    return full


def test_losses_predictions_and_tokens_are_those_of_the_model() -> None:
    gpt, text = model(), "abc abca"
    seen = lens.look(gpt, TOKENIZER, text)
    ids = np.array(TOKENIZER.encode(text))
    gpt.eval()
    logits = gpt(ids).detach()
    losses = cross_entropy(logits[:-1], ids[1:], reduction="none").data
    assert [token["id"] for token in seen["tokens"]] == ids.tolist()
    assert [token["bytes"] for token in seen["tokens"]][:2] == ["61", "62"]
    np.testing.assert_allclose([token["loss"] for token in seen["tokens"][1:]], losses, rtol=1e-4)
    assert seen["tokens"][0]["loss"] is None
    answers = [row[0][0] for row in seen["predictions"][-1]]
    assert answers == logits.data.argmax(axis=-1).tolist()
    assert seen["predictions"][-2] == seen["predictions"][-1]  # the last block's stream is what the head reads


def test_attention_weights_sum_to_1_and_follow_from_the_products() -> None:
    seen = lens.look(model(), TOKENIZER, "abc abca")
    assert [len(layer["heads"]) for layer in seen["layers"]] == [2, 2]
    for layer in seen["layers"]:
        for head in layer["heads"]:
            shares = triangle(8, head["shares"]) / lens.WEIGHT_STEPS
            np.testing.assert_allclose(shares.sum(axis=-1), 1, atol=8 / lens.WEIGHT_STEPS)
            scores = triangle(8, head["products"]) * head["scale"]
            powers = np.tril(np.exp(scores))
            np.testing.assert_allclose(shares, powers / powers.sum(axis=-1, keepdims=True), atol=2e-3)


def test_gradients_of_attention_weights_equal_measured_slopes() -> None:
    """One attention weight is moved: the loss changes as the lens says."""
    gpt = tiny(vocab_size=TOKENIZER.vocab_size, context_length=40).eval()
    head = lens.look(gpt, TOKENIZER, "abc abca")["layers"][0]["heads"][1]
    ids = np.array(TOKENIZER.encode("abc abca"))

    def loss_with(moved: float) -> float:
        calls = iter(range(9))

        def shift(weights: Tensor) -> Tensor:
            change = np.zeros(weights.shape)
            change[1, 5, 2] = moved if next(calls) == 0 else 0.0
            return weights + change

        with watch_attention_weights(shift):
            return cross_entropy(gpt(ids)[:-1], ids[1:]).item()

    slope = (loss_with(1e-5) - loss_with(-1e-5)) / 2e-5
    said = triangle(8, head["gradients"])[5, 2] * head["step"]
    assert said == pytest.approx(slope, rel=1e-3, abs=head["step"])


def test_the_model_is_left_as_it_was() -> None:
    gpt = model()
    gpt.blocks[0].requires_grad_(False)
    modes = [(part, part.training) for part in gpt.modules()]
    before = attention.scaled_dot_product_attention
    lens.look(gpt, TOKENIZER, "abc")
    assert attention.scaled_dot_product_attention is before
    assert all(part.training == mode for part, mode in modes)
    assert all(p.grad is None for p in gpt.parameters())
    assert not any(p.requires_grad for p in gpt.blocks[0].parameters())
    assert not any(part._forward_hooks for part in gpt.modules())


def test_costs_follow_the_formulas() -> None:
    seen = lens.look(model(), TOKENIZER, "abcd")
    costs = {cost["name"]: cost for cost in seen["costs"]}
    assert costs["blocks.0.feed_forward"]["flops"] == 2 * 2 * 4 * 8 * 32
    assert costs["blocks.0.attention"]["flops"] == 4 * 2 * 4 * 8 * 8 + 4 * 2 * 4 * 10
    assert costs["head"]["weightBytes"] == TOKENIZER.vocab_size * 8 * 4
    assert all(cost["seconds"] > 0 for cost in costs.values())


def test_only_active_experts_are_counted() -> None:
    changes = {"vocab_size": TOKENIZER.vocab_size, "context_length": 12, "num_experts": 4, "experts_per_token": 2}
    seen = lens.look(Llama(small_config(LlamaConfig, **changes)), TOKENIZER, "abcd")
    (cost,) = [one for one in seen["costs"] if one["name"] == "blocks.1.feed_forward"]
    assert cost["flops"] == 2 * 4 * 8 * 4 + 2 * (3 * 2 * 4 * 8 * 12)


def test_a_llama_can_be_inspected() -> None:
    llama = Llama(small_config(LlamaConfig, vocab_size=TOKENIZER.vocab_size, context_length=12))
    seen = lens.look(llama, TOKENIZER, "abc abca")
    assert len(seen["layers"]) == 2 and len(seen["layers"][0]["heads"]) == 2
    embedded(lens.as_page(seen))


def test_hostile_text_is_shown_as_text() -> None:
    page = lens.as_page(lens.look(model(), TOKENIZER, HOSTILE) | {"prompt": HOSTILE + "\ud800"})
    assert page.count("</script>") == 2
    inside = page.partition('id="data">')[2].partition("</script>")[0]
    assert inside.isascii() and not set(inside) & set("<>&")
    data = embedded(page)
    assert data["prompt"] == HOSTILE + "\ud800"
    assert "".join(token["text"] for token in data["tokens"]) == HOSTILE
    page.encode("utf-8")


def test_the_page_fetches_nothing() -> None:
    page = lens.as_page(lens.look(model(), TOKENIZER, "abc"))
    assert not re.search(r"\b(src|href)=|@import|url\(|fetch\(|import\(", page)
    assert set(re.findall(r"https?://[^\"]+", page)) == {"http://www.w3.org/2000/svg"}


def test_the_page_names_what_it_leaves_out(monkeypatch: pytest.MonkeyPatch) -> None:
    data = embedded(lens.as_page(lens.look(model(), TOKENIZER, "abcd " * 100)))
    assert len(data["tokens"]) == 40
    assert data["leftOut"] == ["the tokens after the first 40, of 500"]
    seen = lens.look(model(), TOKENIZER, "abcd " * 8)
    whole = len(lens.as_page(seen).encode())
    monkeypatch.setattr(lens, "MAX_PAGE_BYTES", whole - 1)
    data = embedded(page := lens.as_page(seen))
    assert data["leftOut"] == ["attention: of each layer's 2 heads, the first 1"]
    assert [len(layer["heads"]) for layer in data["layers"]] == [1, 1]
    assert len(page.encode()) < whole
    monkeypatch.setattr(lens, "MAX_PAGE_BYTES", 100)
    with pytest.raises(ConfigError, match="too many layers"):
        lens.as_page(lens.look(model(), TOKENIZER, "abc"))


def test_short_prompts_and_other_models_are_refused() -> None:
    with pytest.raises(ConfigError, match="at least two tokens"):
        lens.look(model(), TOKENIZER, "a")
    with pytest.raises(ConfigError, match="next token"):
        lens.look(EncoderDecoder(small_config(EncoderDecoderConfig)), TOKENIZER, "abc")


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium")
@pytest.mark.parametrize(("prompt", "width"), [(HOSTILE * 2, 800), ("abc abcdefgh", 1920)])
def test_the_page_passes_its_selftest_in_chromium(tmp_path: Path, prompt: str, width: int) -> None:
    page = tmp_path / "page.html"
    page.write_text(lens.as_page(lens.look(model(), TOKENIZER, prompt)), "utf-8")
    done = subprocess.run(
        [
            CHROMIUM,
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            f"--window-size={width},1000",
            f"--user-data-dir={tmp_path / 'profile'}",
            "--virtual-time-budget=20000",
            "--dump-dom",
            f"{page.as_uri()}#selftest",
        ],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    title = html.unescape(re.search(r"<title>(.*?)</title>", done.stdout).group(1))
    assert re.fullmatch(r"selftest ok: \d+ checks", title), title
