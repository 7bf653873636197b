"""Loss curves of short trainings with a fault and without."""

import math

import pytest

from tinygrad_llm.verify.fault_curves import Curve, plot, train_with
from tinygrad_llm.verify.faults import FAULTS


@pytest.mark.parametrize("name", [None, "gradients-not-zeroed", "clipped-per-tensor", "tying-by-copy"])
def test_a_short_training(name: str | None) -> None:
    curve = train_with(None if name is None else FAULTS[name], steps=3)
    assert len(curve.losses) == 3 and math.isfinite(curve.validation)
    if name is not None:
        assert curve.losses != train_with(None, steps=3).losses


def test_the_same_seed_trains_the_same() -> None:
    assert train_with(None, steps=3) == train_with(None, steps=3)


def test_the_plot_of_two_curves() -> None:
    picture = plot(Curve([4.0, 3.0, 2.0]), Curve([4.0, 4.0]), width=3, height=3)
    assert picture.splitlines()[:4] == ["  4.00 |#x", "  3.00 | .", "  2.00 |  .", "       +---"]
