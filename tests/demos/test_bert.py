"""The demo of BERT beside GPT, on the same messages."""

import re
from collections.abc import Callable

import pytest
from demo_figures import section


@pytest.mark.slow
def test_bert_and_gpt_learn_from_the_same_messages(printed: Callable[[str], str]) -> None:
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
