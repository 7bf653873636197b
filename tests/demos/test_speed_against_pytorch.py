"""The demo that times a training step; its figures belong to the machine, so only their form is tested."""

import re

from demo_figures import run


def test_a_training_step_is_timed_and_its_memory_printed() -> None:
    output = run(
        "speed_against_pytorch", "--models", "smoke", "--rounds", "1", "--busy", "--sides", "workers", "PyTorch"
    )
    lines = output.splitlines()
    assert re.fullmatch(
        r"== A training step beside another busy program, in seconds \(medians(; OpenBLAS's kernels: \w+)?\) ==",
        lines[0],
    )
    assert re.search(
        r"^smoke: workers     [\d.]+ s, [\d,]+ tokens/s, -?\d+ MB at most \(\d+ in all\)$",
        output,
        re.MULTILINE,
    )
    with_pytorch = "PyTorch's" in output
    assert len(lines) == (6 if with_pytorch else 4)
    assert re.search(
        r"^smoke: the products of our step alone take \d+% of the time of a step of workers", lines[-1 - with_pytorch]
    )
