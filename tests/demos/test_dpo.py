"""The demo of DPO: reward margins widen on pairs that are not trained on."""

import re
from collections.abc import Callable

import pytest
from demo_figures import section

pytestmark = pytest.mark.slow


def test_says_that_what_needs_the_weights_of_gpt2_is_out_of_reach(printed: Callable[[str], str]) -> None:
    assert "GPT-2's weights are out of reach" in section(printed("dpo"), "3)")


def test_the_margins_widen_on_pairs_that_are_not_trained_on(printed: Callable[[str], str]) -> None:
    output = section(printed("dpo"), "5)")
    for part in ("validation", "test"):
        found = re.findall(rf"{part}: loss ([\d.]+), reward margin (-?[\d.]+) ", output)
        losses, margins = ([float(number) for number in column] for column in zip(*found, strict=True))
        assert len(found) == 5
        assert margins[0] == 0 < margins[1] < margins[-1]
        assert losses[-1] < losses[1] < losses[0] < 0.69315
    ahead = re.findall(r"test: .* in ([\d.]+)% of 110 pairs", output)
    assert float(ahead[-1]) > 60
