"""The demo of Muon and AdamW: three trainings per seed, and their differences."""

import re
from collections.abc import Callable

import pytest


@pytest.mark.slow
def test_compares_at_equal_steps_and_at_equal_time(printed: Callable[[str], str]) -> None:
    output = printed("muon")
    row = re.search(
        r"^ +(\d) +([\d.]+) +([\d.]+) +([\d.]+) +([\d.]+) times AdamW's: (\d+) steps of (\d+)$", output, re.MULTILINE
    )
    assert row is not None
    seed, adamw, equal_steps, equal_time, ratio, fewer, steps = map(float, row.groups())
    assert seed == 0
    assert all(1.5 < loss < 3.2 for loss in (adamw, equal_steps, equal_time))  # an even guess costs ln 65 = 4.17 nats
    assert ratio > 1 and abs(fewer - steps / ratio) < 1  # the ratio is printed with two digits
    differences = [float(x) for x in re.findall(r"^at equal \w+: ([+-][\d.]+)", output, re.MULTILINE)]
    assert differences == pytest.approx([equal_steps - adamw, equal_time - adamw], abs=2e-4)
