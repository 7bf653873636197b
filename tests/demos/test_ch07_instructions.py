"""The demo of chapter 7: a small model follows instructions in wordings that it has not seen."""

import re
from collections.abc import Callable

import pytest
from demo_figures import section

pytestmark = pytest.mark.slow


def test_says_that_what_needs_the_weights_of_gpt2_is_out_of_reach(printed: Callable[[str], str]) -> None:
    assert "GPT-2's weights are out of reach" in section(printed("ch07_instructions"), "7.5")


def test_the_small_model_follows_wordings_that_it_has_not_seen(printed: Callable[[str], str]) -> None:
    marks = re.findall(
        r"^  (\w+): before ([\d.]+)%, after ([\d.]+)%$", section(printed("ch07_instructions"), "7.8"), re.MULTILINE
    )
    before, after = ({kind: float(row[place]) for kind, *row in marks} for place in (0, 1))
    assert len(marks) == 6
    assert max(before.values()) <= 5
    assert after["all"] >= 50
    assert after["longest_word"] >= 70
    assert after["extract_number"] >= 70
