"""The demo on the number of machines: its arithmetic, from figures given and figures measured."""

import re

import pytest
from demo_figures import run

from tinygrad_llm.models import GPT, GPTConfig
from tinygrad_llm.nn import init

GIVEN = ("--seconds-per-token", "0.01", "--optimizer-seconds", "0.5", "--gigabits", "0.2", "8")


def table(output: str, model: str) -> dict[int, list[str]]:
    """Machines to the times of their row."""
    part = output.split(f"== {model}: ")[1].split("\n==")[0]
    rows = re.findall(r"^ +(\d+) +(.+)$", part, re.MULTILINE)
    return {int(machines): re.split(r" {2,}", times.strip()) for machines, times in rows}


def test_the_arithmetic_of_given_figures() -> None:
    printed = run("parallel_scaling", *GIVEN, "--batch-tokens", "8192")
    assert "as given: 10.00 ms per token, optimizer 0.500 s" in printed
    rows = table(printed, "124M")
    weights = 12 * 12 * 768 * 768 + 50257 * 768
    context = (weights + 12 * 768 * 1024) / (weights + 12 * 768 * 256)  # a longer one costs more attention
    bytes_of_gradient = 4 * 124_439_808
    for machines, times in rows.items():
        for text, speed in zip(times, (0.2e9 / 8, 8e9 / 8), strict=False):
            expected = 81.92 * context / machines + 2 * (machines - 1) / machines * bytes_of_gradient / speed + 0.5
            assert text == (f"{expected:,.1f} s" if expected < 120 else f"{expected / 60:,.1f} minutes")
    assert list(rows) == [1, 2, 4, 8]  # a machine needs a row
    assert re.search(r"^8 Gbit/s: 8 machines pay, then the rows end; ", printed, re.MULTILINE)
    assert re.search(r"^0.2 Gbit/s: 2 machines pay, then more would mostly wait; ", printed, re.MULTILINE)
    assert "0.50 GB of gradient" in printed and "6.23 GB of gradient" in printed  # 124M and 1.56B times 4 bytes


def test_the_parameters_are_those_of_the_models() -> None:
    """The demo counts by arithmetic; a model that can be built is asked."""
    printed = run("parallel_scaling", "--small")
    (shown,) = re.findall(r"^([\d,]+) parameters, one sequence of 128", printed, re.MULTILINE)
    with init.no_initial_values():
        assert int(shown.replace(",", "")) == GPT(GPTConfig.preset("micro", qkv_bias=True)).num_parameters()
    assert len(table(printed, "1.5B")) == 10  # 1 to 512
    assert "tinygrad-llm export --model" in printed


@pytest.mark.slow
def test_two_processes_measure_their_sum() -> None:
    pytest.importorskip("mpi4py")
    printed = run("parallel_scaling", "--small")
    (speed,) = re.findall(r"two processes of this machine sum (\S+) GB/s", printed)
    assert 0 < float(speed) < 1000  # however busy this machine is
    assert "memory" in printed
