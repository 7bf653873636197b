"""A step that workers share is measured as one of a single process; durations are not tested."""

from __future__ import annotations

import multiprocessing

import numpy as np

from tinygrad_llm.measure.benchmark import PARTS, measure
from tinygrad_llm.measure.shared_step import SharedProducts, SharedStep
from tinygrad_llm.measure.training_step import PRESETS
from tinygrad_llm.study.counting import flops

SMOKE = PRESETS["smoke"]


def test_a_step_is_the_same_for_any_number_of_workers() -> None:
    weights = []
    for workers in (1, 2):
        with SharedStep(SMOKE, workers) as step:
            assert len(step.processes) == (workers if workers > 1 else 0)
            for _ in range(3):
                step()
        assert step.trainer.step == 3
        weights.append(step.model.state_dict())
    for name, array in weights[0].items():
        np.testing.assert_allclose(weights[1][name], array, rtol=1e-4, atol=1e-6, err_msg=name)
    assert multiprocessing.active_children() == []


def test_products_are_those_of_each_process() -> None:
    model = SharedStep(SMOKE, 1).model
    with SharedProducts([flops(model, rows, 16).products for rows in (2, 1)]) as products:
        products()
        assert products.peak_speed() > 1e8
    assert multiprocessing.active_children() == []


def test_a_benchmark_of_workers_has_all_figures() -> None:
    result = measure(SMOKE, steps=2, warmup=1, workers=3)  # a batch of two rows leaves the third without one
    told = result.to_dict()
    assert told["workers"] == 3 and list(told["parts"]) == list(PARTS)
    assert len(told["step_seconds"]) == len(told["product_seconds"]) == 2
    assert told["memory"]["all_workers"] == told["memory"]["peak"]
    assert result.tokens_per_second[0] > 0 and result.peak_speed > 0
    assert multiprocessing.active_children() == []


def test_auto_measures_the_smallest_model_in_one_process() -> None:
    assert measure(SMOKE, steps=1, warmup=1, workers="auto").workers == 1
