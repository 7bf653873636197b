"""The demo of chapter 6: the rows of its table, and small models that learn to tell spam."""

import re
from collections.abc import Callable

import pytest
from demo_figures import FIGURES, percentages, section

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("data_folder")]


def test_shows_the_rows_of_the_book(printed: Callable[[str], str]) -> None:
    lines = section(printed("ch06_classification"), "6.2").splitlines()
    rows = [line.rstrip() for line in lines if re.match(r"\d+ (ham|spam): ", line)]
    assert rows == FIGURES["ch06_classification"].rows_of_the_messages


def test_small_models_learn_to_tell_spam(printed: Callable[[str], str]) -> None:
    output = printed("ch06_classification")
    (untrained,) = percentages(section(output, "6.6"), "untrained, test accuracy")
    (trained,) = percentages(section(output, "6.7"), "trained, test accuracy")
    assert untrained < 75 < 85 < trained
    shares = {name: percentages(output, f"exercise {name}")[0] for name in ("6.1", "6.2", "6.3")}
    assert shares["6.3"] < min(trained, shares["6.1"], shares["6.2"])
    assert shares["6.2"] > trained
    for method, least in (("last token", 94), ("mean, not causal", 94), ("bags of words", 94)):
        splits = percentages(output, f"{method}, five splits")
        mean, half = percentages(output, f"{method}, mean")
        assert len(splits) == 5
        assert mean == pytest.approx(sum(splits) / 5, abs=0.02)
        assert least < mean < 100
        assert 0 < half < 4
