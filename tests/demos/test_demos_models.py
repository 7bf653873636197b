"""The demos of the other models learn what they say they learn."""

import re

import pytest
from demo_figures import section


def share(text: str, label: str) -> float:
    """The first percentage after a label."""
    match = re.search(r"(\d+\.\d+)%", text[text.index(label) :])
    assert match
    return float(match[1])


@pytest.mark.slow
def test_translates_numbers_that_it_has_not_seen_and_aligns_their_words(printed) -> None:
    output = printed("translation")
    assert "numbers both trained on and held out: 0\n" in output
    assert share(section(output, "4"), "exact match:") >= 90
    assert "the same texts" in section(output, "4")
    picture = section(output, "5")
    assert "-> quatre cent soixante et onze mille quatre-vingt-deux (right)" in picture
    rows = {line.split()[0]: line for line in picture.splitlines() if "█" in line or "▓" in line or "▒" in line}
    thousand = int(re.search(r"(\d+) thousand", picture)[1])
    assert rows["mille"][14 + 3 * (thousand - 1) :][:3].strip()  # mille looks at thousand


@pytest.mark.slow
def test_corrects_new_typos_of_known_words(printed) -> None:
    table = section(printed("spelling"), "3")
    assert share(table, "new typos of known words") >= 30
    assert re.search(r"typos of words held out +\d+\.\d% +\d+\.\d% +0\.0%", table)  # a dictionary cannot say them


@pytest.mark.slow
def test_bert_and_gpt_learn_from_the_same_messages(printed) -> None:
    output = printed("bert")
    hidden = re.search(r"asked for (\d+): hidden (\d+), replaced (\d+), left (\d+)", section(output, "2"))
    assert hidden
    asked, *fates = map(int, hidden.groups())
    assert asked == sum(fates) and 25 <= asked <= 65 and fates[0] > asked / 2
    for name, less in (("GPT", 0.5), ("BERT", 0.0)):  # BERT's head begins at the frequencies of the tokens
        figures = re.search(rf"^{name}: .* (\d\.\d+) -> (\d\.\d+) nats", section(output, "3"), re.MULTILINE)
        assert figures and float(figures[2]) < float(figures[1]) - less
    rows = re.findall(r"^(?:GPT|BERT), .*?(\d+\.\d)% +(\d+\.\d)%", section(output, "5"), re.MULTILINE)
    assert len(rows) == 5 and all(float(test) > 65 for _, test in rows)
