"""How the cost of a step grows: exponents, axes, JSON."""

import json
import math

import pytest

from tinygrad_llm import study
from tinygrad_llm.errors import ConfigError
from tinygrad_llm.measure.scaling import Growth, ScalingPoint, fitted_exponent, grown, measure_growth
from tinygrad_llm.measure.training_step import PRESETS
from tinygrad_llm.models import GPT

SMOKE = PRESETS["smoke"]


def test_the_exponent_is_that_of_a_power_law() -> None:
    assert fitted_exponent([2, 8, 32], [5 * x**1.7 for x in (2, 8, 32)]) == pytest.approx(1.7)


def test_growth_of_the_counted_operations() -> None:
    axes = {"context": (8, 16), "batch": (1, 2, 4), "width": (16, 64), "vocabulary": (64, 4096)}
    grew = {growth.axis: growth for growth in measure_growth(SMOKE, axes)}
    assert {axis: tuple(p.size for p in growth.points) for axis, growth in grew.items()} == axes
    assert grew["batch"].exponent_of_operations == pytest.approx(1)
    assert 1 < grew["context"].exponent_of_operations < 2
    assert 1 < grew["width"].exponent_of_operations < 2
    assert 0 < grew["vocabulary"].exponent_of_operations < 1
    assert grew["batch"].points[2].operations == 3 * study.flops(GPT(SMOKE.config), 4, 16).forward
    assert all(math.isfinite(growth.exponent) for growth in grew.values())
    with pytest.raises(ConfigError, match="axes are"):
        grown(SMOKE, "depth", 2)


def test_growth_converts_to_json() -> None:
    growth = Growth("batch", [ScalingPoint(1, 0.5, 2.0, 10), ScalingPoint(2, 1.0, 2.0, 40)])
    told = json.loads(json.dumps(growth.to_dict()))
    assert told["exponent"] == pytest.approx(1) and told["exponent_of_operations"] == pytest.approx(2)
    assert told["points"][1] == {"size": 2, "seconds": 1.0, "tokens_per_second": 2.0, "operations": 40}
