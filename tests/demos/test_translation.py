"""The demo of the first Transformer translates sentences with combinations that it has not seen."""

import re
from collections.abc import Callable

import pytest
from demo_figures import percentages, section


@pytest.mark.slow
def test_translates_new_combinations_and_aligns_their_words(printed: Callable[[str], str]) -> None:
    output = printed("translation")
    assert "sentences both trained on and held out: 0\n" in output
    assert percentages(section(output, "2"), "dictionary: exact match")[0] <= 5
    assert percentages(section(output, "3"), "Transformer: exact match")[0] >= 50
    assert "the same texts" in section(output, "4")
    picture = section(output, "5").split("\n\n")[0]
    assert "-> Das kleine Kind hebt den Ball auf." in picture
    rows = {line.split()[0]: line for line in picture.splitlines() if re.match(r" *\S+ [ ░▒▓█]+$", line)}
    names = next(line for line in picture.splitlines() if line.startswith("1 The"))
    places = {word: int(number) for number, word in re.findall(r"(\d+) (\S+)", names)}
    for german, english in (
        ("Kind", {"child"}),
        ("Ball", {"ball"}),
        ("hebt", {"picks", "up"}),
        ("auf", {"picks", "up"}),
    ):
        cells = rows[german][-3 * len(places) :]
        weights = [" ░▒▓█".index(cells[3 * place + 1]) for place in range(len(places))]
        assert weights.index(max(weights)) + 1 in {places[word] for word in english}
