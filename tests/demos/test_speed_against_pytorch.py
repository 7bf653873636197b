"""The demo that times a training step; its figures belong to the machine, so only their form is tested."""

import re

from demo_figures import run


def test_a_training_step_is_timed_and_its_memory_printed() -> None:
    output = run("speed_against_pytorch", "--models", "smoke", "--rounds", "1")
    lines = output.splitlines()
    assert lines[0] == "== A training step, in seconds (medians) =="
    assert re.search(r"^smoke: NumPy   [\d.]+ s, [\d,]+ tokens/s, \d+ MB at most$", output, re.MULTILINE)
    with_pytorch, with_mpi = "PyTorch is not" not in output, "shared " in output
    assert len(lines) == 2 + 1 + with_mpi + with_pytorch * (1 + with_mpi) + 1 + with_pytorch
    assert re.search(r"^smoke: the products of our step alone take \d+% of the time of NumPy", output, re.MULTILINE)
    if with_mpi:
        assert re.search(r"^smoke: shared  [\d.]+ s, [\d,]+ tokens/s by a process on each core$", output, re.MULTILINE)
