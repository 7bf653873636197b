"""The demo from single numbers to a GPT: one gradient, computed in three ways."""

import re
from collections.abc import Callable

import pytest


def test_every_engine_has_the_same_gradient(printed: Callable[[str], str]) -> None:
    output = printed("scalar_to_gpt")
    rungs = re.findall(r"^\d (?:numbers|arrays|package) +loss ([\d.]+) .*= \[(.*)\]$", output, re.MULTILINE)
    assert len(rungs) == 3 and len(set(rungs)) == 1
    assert any(float(number) for number in rungs[0][1].split())
    assert float(re.search(r"20 gradients: (\S+)", output)[1]) < 1e-14


def test_the_gradient_of_the_gpt_equals_finite_differences(printed: Callable[[str], str]) -> None:
    backward, moved = re.search(r"backward (\S+) +by finite differences (\S+)", printed("scalar_to_gpt")).groups()
    assert float(backward) and float(backward) == pytest.approx(float(moved), rel=1e-4, abs=2e-9)
