"""Standard errors."""

import math

import numpy as np
import pytest

from tinygrad_llm import Generator
from tinygrad_llm.evaluation.reports import mean_metric, ratio_error


def test_the_standard_error_of_a_share() -> None:
    value, error, _ = mean_metric([True, False, True, True])
    assert value == 0.75 and error == pytest.approx(math.sqrt(0.75 * 0.25 / 3))
    assert mean_metric([1]).standard_error is None


def test_the_standard_error_of_a_ratio_is_the_spread_over_samples() -> None:
    generator = Generator(0)
    sizes = np.asarray(generator.rand(2000, 30)) + 0.5
    amounts = sizes * (1 + 0.2 * np.asarray(generator.randn(2000, 30)))
    spread = (amounts.sum(axis=1) / sizes.sum(axis=1)).std()
    errors = [ratio_error(a, b) for a, b in zip(amounts[:200], sizes[:200], strict=True)]
    assert np.mean(errors) == pytest.approx(spread, rel=0.05)  # type: ignore[arg-type]
    assert ratio_error([1.0], [2.0]) is None and ratio_error([1, 2, 3], [2, 4, 6]) == 0
