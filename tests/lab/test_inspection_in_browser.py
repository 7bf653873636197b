"""The page of `inspect` in Chromium: every view at four widths in light and dark, and what its panel explains."""

import re
from pathlib import Path

import numpy as np
import pytest
from browser import CHROMIUM, Page
from lab_page import part, settle
from pages import expect_nothing_cut_off
from tiny_gpt import tiny

from tinygrad_llm.lab.inspection import inspected_page
from tinygrad_llm.text import CharTokenizer

pytestmark = [pytest.mark.slow, pytest.mark.skipif(CHROMIUM is None, reason="no Chromium")]

HOSTILE = "</script><b>\"'&\u2028\x1b<!--"


@pytest.fixture(scope="module")
def inspected(tmp_path_factory: pytest.TempPathFactory) -> Path:
    tokenizer = CharTokenizer(sorted(set(HOSTILE + "abc")))
    model = tiny(vocab_size=tokenizer.vocab_size, context_length=40, dtype=np.float32)
    file = tmp_path_factory.mktemp("inspect") / "page.html"
    file.write_bytes(inspected_page(model, tokenizer, HOSTILE + "abc", "run")[0])
    return file


@pytest.mark.parametrize("view", ["prompt", "heads", "stream", "backward", "parameters", "costs"])
def test_the_page_of_inspect_at_every_width(page: Page, inspected: Path, view: str) -> None:
    for scheme in ("light", "dark"):
        page.prefer(prefers_color_scheme=scheme)
        page.open(f"{inspected.as_uri()}#view={view}")
        settle(page)
        expect_nothing_cut_off(page)
    assert page.evaluate("document.querySelectorAll('script').length") == 3  # answers, import map, entry
    assert "run on" in page.evaluate("document.title")


def test_the_panel_of_inspect_explains_the_marked_cell(page: Page, inspected: Path) -> None:
    page.open(f"{inspected.as_uri()}#view=heads&token=9&key=4&layer=1&head=1")
    settle(page)
    words = part(page, "Layer 1, head 1")
    explained = page.evaluate("document.querySelector('.working').closest('.panel').innerText")
    weight = re.search(r"weight ([\d.e−]+), gradient", words)[1]
    assert explained.startswith("9 ") and f"= {weight}" in explained
    score, total = (float(re.search(rf"{name} += ([\d.]+)", explained)[1]) for name in (r"exp\(score\)", "of the row"))
    assert score / total == pytest.approx(float(weight), rel=1e-2)
    page.click("[data-key='What is shown:gradients']")
    page.evaluate("document.querySelector('.map canvas').focus()")
    page.press("ArrowDown")
    settle(page)
    assert page.evaluate("document.querySelector('.working').closest('.panel').innerText").startswith("10 ")


def test_the_last_token_has_no_gradient_rather_than_0(page: Page, inspected: Path) -> None:
    page.open(f"{inspected.as_uri()}#view=heads&show=gradients")
    settle(page)
    assert "no gradient: the last token predicts nothing" in part(page, "Layer 0, head 0")
    page.click("[data-key='table:One head']")
    last = page.evaluate("document.querySelector('.figure tbody tr:last-child').innerText.split('\\t').slice(1)")
    assert set(last) == {"–"}
