"""The demo of Gated DeltaNet: equal forms, memory over length, and texts with and without the state."""

import re
from collections.abc import Callable

import pytest


@pytest.mark.slow
def test_a_state_in_place_of_a_cache(printed: Callable[[str], str]) -> None:
    output = printed("linear_attention")
    differences = re.findall(r"^chunks of +\d+ tokens +[\d.]+ ms, largest difference (\S+)$", output, re.MULTILINE)
    assert len(differences) == 4 and max(map(float, differences)) < 1e-12
    sizes = {
        name.strip(): [int(size.replace(",", "")) for size in row.split()]
        for name, row in re.findall(r"^(.{18})([ \d,]+)  KB$", output, re.MULTILINE)
    }
    attention, windowed, state = (sizes[name] for name in ("attention", "window of 128", "DeltaNet, 3:1"))
    for size, length in zip(attention, (128, 256, 512), strict=True):  # keys and values in float32, and some room
        assert 0.99 < size / (4 * 2 * 128 * 4 * length / 1e3) < 1.15
    assert windowed[1] == pytest.approx(windowed[2], rel=0.02)
    assert len(set(sizes["DeltaNet"])) == 1 and sizes["DeltaNet"][0] < state[0]
    assert state[2] - state[1] == pytest.approx((attention[2] - attention[1]) / 4, rel=0.02)
    assert len(re.findall(r"^.{18}equal: ", output, re.MULTILINE)) == 4
    losses = [float(loss) for loss in re.findall(r"^.{18}([\d.]+) nats, ", output, re.MULTILINE)]
    assert len(losses) == 4 and all(2.5 < loss < 4.0 for loss in losses)
