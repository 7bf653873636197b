"""The demo of spelling: a GPT corrects what a dictionary cannot."""

from collections.abc import Callable

import pytest
from demo_figures import percentages, section


@pytest.mark.slow
def test_corrects_real_words_and_unknown_words(printed: Callable[[str], str]) -> None:
    table = section(printed("spelling"), "3")
    for kind in ("real word", "unknown word"):
        by_dictionary, by_gpt = percentages(table, kind)[:2]
        assert by_dictionary == 0 and by_gpt >= 10
    assert percentages(table, "no typo")[1] >= 70
    assert percentages(table, "typo")[1] >= 60
