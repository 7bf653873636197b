"""The scaling law: its formula, the worth of repeated tokens, the fit, and the best size."""

import math

import numpy as np
import pytest

from tinygrad_llm.errors import DataError
from tinygrad_llm.measure.scaling_law import (
    ScalingLaw,
    Speed,
    TrainedPoint,
    best_size,
    effective_tokens,
    fit_law,
    relative_errors,
)

LAW = ScalingLaw(0.9, 40.0, 0.34, 300.0, 0.37)
UNIQUE = 500_000


def points_of(law: ScalingLaw) -> list[TrainedPoint]:
    grid = [(size, tokens) for size in (50_000, 200_000, 800_000) for tokens in (100_000, 400_000, 1_600_000)]
    return [TrainedPoint(size, tokens, float(law.loss(size, tokens, UNIQUE))) for size, tokens in grid]


def test_the_loss_is_the_sum_of_the_formula() -> None:
    by_hand = 0.9 + 40 / 100_000**0.34 + 300 / 300_000**0.37
    assert float(LAW.loss(100_000, 300_000, UNIQUE)) == pytest.approx(by_hand, rel=1e-12)


def test_repeated_tokens_are_worth_less_and_less() -> None:
    assert effective_tokens([100, 1000], 1000).tolist() == [100, 1000]
    by_hand = 1000 + 1000 * 15.4 * (1 - math.exp(-3 / 15.4))  # read four times: three repetitions
    assert float(effective_tokens(4000, 1000)) == pytest.approx(by_hand, rel=1e-12)
    worth = effective_tokens(1000 * np.arange(1, 200), 1000)
    assert (np.diff(worth) > 0).all() and (np.diff(worth, 2) < 0).all()
    assert worth[-1] < 1000 * (1 + 15.4)


def test_the_fit_finds_the_law_that_made_the_points() -> None:
    points = points_of(LAW)
    law = fit_law(points, UNIQUE)
    assert (law.size_exponent, law.data_exponent) == (pytest.approx(0.34), pytest.approx(0.37))
    assert max(map(abs, relative_errors(law, points, UNIQUE))) < 1e-9
    assert law.irreducible == pytest.approx(0.9, rel=1e-6)


def test_no_factor_of_the_fit_is_negative() -> None:
    rising = [TrainedPoint(point.parameters, point.tokens, 6 - point.loss) for point in points_of(LAW)]
    law = fit_law(rising, UNIQUE)
    assert min(law.irreducible, law.size_factor, law.data_factor) >= 0


def test_too_few_points_are_refused() -> None:
    with pytest.raises(DataError, match="needs at least 6 points; got 5"):
        fit_law(points_of(LAW)[:5], UNIQUE)


def test_the_speed_is_a_line_in_seconds_per_token() -> None:
    speed = Speed.of_measurements([100_000, 1_000_000], [20_000, 4_000])
    assert float(speed.tokens(100_000, 2.0)) == pytest.approx(40_000)
    assert float(speed.tokens(550_000, 1.0)) == pytest.approx(1 / (0.5 * (1 / 20_000 + 1 / 4_000)))


def test_a_larger_model_is_never_taken_to_be_free() -> None:
    """Another program ran while the small one was measured."""
    speed = Speed.of_measurements([100_000, 1_000_000], [10_000, 20_000])
    assert float(speed.tokens(1_000_000, 1.0)) == pytest.approx(20_000)
    assert float(speed.tokens(100_000_000, 1.0)) == pytest.approx(200)
    assert best_size(LAW, speed, 5, 1e6) < 1_000_000


def test_the_best_size_has_the_lowest_loss_and_grows_with_time_and_speed() -> None:
    slow, fast = Speed(1e-5, 2e-10), Speed(5e-6, 1e-10)
    best = best_size(LAW, slow, 600, 1e9)
    tokens = [float(slow.tokens(size, 600)) for size in (best // 2, best, 2 * best)]
    losses = [float(LAW.loss(size, read, 1e9)) for size, read in zip((best // 2, best, 2 * best), tokens, strict=True)]
    assert losses[1] < min(losses[0], losses[2])
    assert best_size(LAW, slow, 60, 1e9) < best < best_size(LAW, fast, 600, 1e9)
    assert best_size(LAW, slow, 600, 100_000) > best  # a short text is soon read: time is better spent on size
