"""The demo of the first Transformer translates numbers that it has not seen."""

import re
from collections.abc import Callable

import pytest
from demo_figures import percentages, section


@pytest.mark.slow
def test_translates_numbers_that_it_has_not_seen_and_aligns_their_words(printed: Callable[[str], str]) -> None:
    output = printed("translation")
    assert "numbers both trained on and held out: 0\n" in output
    assert percentages(section(output, "4"), "exact match:")[0] >= 90
    assert "the same texts" in section(output, "4")
    picture = section(output, "5")
    assert "-> quatre cent soixante et onze mille quatre-vingt-deux (right)" in picture
    rows = {line.split()[0]: line for line in picture.splitlines() if "█" in line or "▓" in line or "▒" in line}
    thousand = int(re.search(r"(\d+) thousand", picture)[1])
    assert rows["mille"][14 + 3 * (thousand - 1) :][:3].strip()  # mille looks at thousand
