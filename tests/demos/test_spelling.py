"""The demo of spelling corrects new typos of words that it knows."""

import re
from collections.abc import Callable

import pytest
from demo_figures import percentages, section


@pytest.mark.slow
def test_corrects_new_typos_of_known_words(printed: Callable[[str], str]) -> None:
    table = section(printed("spelling"), "3")
    assert percentages(table, "new typos of known words")[0] >= 30
    assert re.search(r"typos of words held out +\d+\.\d% +\d+\.\d% +0\.0%", table)  # a dictionary cannot say them
