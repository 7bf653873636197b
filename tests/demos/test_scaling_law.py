"""The demo of the scaling law: nine small trainings, whose losses fall with size and length, and a fit."""

import re
from collections.abc import Callable

import pytest


@pytest.mark.slow
def test_the_loss_falls_with_size_and_tokens_as_the_law_says(printed: Callable[[str], str]) -> None:
    output = printed("scaling_law")
    rows = [row.replace(",", "").split() for row in re.findall(r"^ +\d+,\d+ .*\d$", output, re.MULTILINE)]
    points = {(int(size), int(tokens)): float(loss) for size, tokens, _, loss in rows}
    sizes, lengths = (sorted({point[axis] for point in points}) for axis in (0, 1))
    assert len(points) == 9 == len(sizes) * len(lengths)
    for size in sizes:
        assert points[size, lengths[0]] > points[size, lengths[1]] > points[size, lengths[2]]
    for tokens in lengths:
        assert points[sizes[0], tokens] > points[sizes[2], tokens]
    errors = re.search(r"relative errors: ([\d.]+)% in the mean, ([\d.]+)% at most", output)
    assert errors is not None and float(errors[1]) < float(errors[2]) < 3
