"""The demo of sentiment: pretrained models read the structure of a review, a bag of words does not."""

from collections.abc import Callable
from pathlib import Path

import pytest
from demo_figures import percentages, run, section

from tinygrad_llm import Generator
from tinygrad_llm.data import sentiment_texts


@pytest.mark.slow
def test_models_read_the_structure_of_reviews(printed: Callable[[str], str]) -> None:
    table = section(printed("sentiment"), "3")
    plain, *others = percentages(table, "bag of words")[:5]
    assert plain >= 95 and sum(others) / 4 <= 65
    plain, negation, contrast = percentages(table, "GPT  ")[:3]
    assert min(plain, negation, contrast) >= 80
    assert percentages(table, "BERT")[0] >= 80


@pytest.mark.slow
def test_reads_reviews_of_ones_own(tmp_path: Path) -> None:
    rows = [f'"{review.text} So it was.",{review.label}' for review in sentiment_texts(120, Generator(0))]
    (tmp_path / "reviews.csv").write_text("text,label\n" + "\n".join(rows) + "\n", encoding="utf-8")
    output = run("sentiment", "--data", str(tmp_path / "reviews.csv"), "--steps", "2")
    assert "84 reviews with a label" in output and "(on 24 reviews" in section(output, "3")
