"""The demo of chapter 4 at every size of GPT-2."""

import re

import pytest
from demo_figures import run


@pytest.mark.slow
def test_full_size_counts_the_parameters_of_every_gpt2() -> None:
    output = run("ch04_gpt", "--full")
    counted = [int(number.replace(",", "")) for number in re.findall(r"counted in a model: ([\d,]+)", output)]
    assert counted == [163_009_536, 406_212_608, 838_220_800, 1_637_792_000]
