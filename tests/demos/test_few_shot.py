"""The demo of few-shot learning: examples in the prompt help only after training."""

import re
from collections.abc import Callable

import pytest

pytestmark = pytest.mark.slow


def test_examples_in_the_prompt_help_only_after_training(printed: Callable[[str], str]) -> None:
    output = printed("few_shot")
    curves = [
        [float(share) for share in re.findall(r"shots +([\d.]+)%", part)[:13]]
        for part in output.split("accuracy on 1,000 held-out mappings")[1:]
    ]
    before, midway, after = curves
    assert len(before) == len(midway) == len(after) == 13
    assert max(before) < 40 and after[0] < 20
    assert midway[-1] < after[-1] and after[-1] > 80 and after[-1] > after[4] > after[1] > after[0]
