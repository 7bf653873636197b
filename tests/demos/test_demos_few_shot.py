"""The demo of few-shot learning shows it appear: no shot helps at first, each new letter helps in the end."""

import re

import pytest

pytestmark = pytest.mark.slow


def test_shots_help_only_after_training(printed):
    output = printed("few_shot")
    curves = [
        [float(share) for share in re.findall(r"shots +([\d.]+)%", part)[:13]]
        for part in output.split("accuracy on 1,000 held-out mappings")[1:]
    ]
    before, midway, after = curves
    assert len(before) == len(midway) == len(after) == 13
    assert max(before) < 40 and after[0] < 20
    assert midway[-1] < after[-1] and after[-1] > 80 and after[-1] > after[4] > after[1] > after[0]
