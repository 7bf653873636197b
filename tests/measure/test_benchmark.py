"""What a benchmark counts is tested, and that its parts add up; how long things take is not."""

import json
import math

import numpy as np
import pytest

from tinygrad_llm import study
from tinygrad_llm.errors import ConfigError
from tinygrad_llm.measure import benchmark
from tinygrad_llm.measure.benchmark import PARTS, measure, predicted_activations, training_bytes
from tinygrad_llm.measure.peak_memory import HighWaterMark
from tinygrad_llm.measure.products_alone import products_alone
from tinygrad_llm.measure.scaling import Growth, Point, fitted_exponent, grown, measure_growth
from tinygrad_llm.measure.training_step import PRESETS, TrainingStep, Workload, gpt_like_nanogpt
from tinygrad_llm.models import GPT
from tinygrad_llm.ops.attention_tiles import QUERY_ROWS

SMOKE = PRESETS["smoke"]


@pytest.fixture(scope="module")
def result():
    return measure(SMOKE, steps=3, warmup=1)


def test_the_presets_are_those_that_others_are_measured_at():
    sizes = {name: GPT(preset.config).num_parameters() for name, preset in PRESETS.items() if name != "124M"}
    assert sizes["0.8M"] == 809_856 and 12e6 < sizes["12M"] < 12.5e6
    assert [PRESETS[name].tokens for name in ("0.8M", "12M", "124M")] == [12 * 64, 32 * 128, 4 * 256]
    small = PRESETS["124M"].config
    assert (small.vocab_size, small.embedding_dim, small.num_layers, small.num_heads) == (50257, 768, 12, 12)


def test_a_step_learns_its_tokens():
    step = TrainingStep(SMOKE)
    first = step.forward().item()
    for _ in range(20):
        step()
    assert step.forward().item() < first - 0.01
    assert all(parameter.grad is None for parameter in step.parameters)


def test_the_same_seed_gives_the_same_step():
    losses = [TrainingStep(SMOKE, seed).forward().item() for seed in (1, 1, 2)]
    assert losses[0] == losses[1] != losses[2]


def test_the_parts_add_up_to_the_step_that_was_watched(result):
    assert list(result.parts) == list(PARTS)
    told = sum(map(sum, result.parts.values())) + result.optimizer + result.engine + result.watching
    assert told == pytest.approx(result.observed_seconds, rel=1e-9)
    assert all(forward > 0 and backward > 0 for forward, backward in result.parts.values())


def test_every_operation_of_a_gpt_has_its_part():
    times = study.time(GPT(SMOKE.config), 2, 8)
    of_part = {name: set() for name in PARTS}
    for path, operation in times.forward:
        of_part[benchmark._part(path, operation)].add(path.split(".")[-1] + ":" + operation)
    assert of_part["residual sums"] == {"0:add", "1:add"}
    assert of_part["loss"] == {"loss:linear_cross_entropy"}
    assert of_part["embedding"] == {"token_embedding:embedding", "position_embedding:embedding", "loss:add"}
    assert of_part["norms"] == {f"{name}:layer_norm" for name in ("norm1", "norm2", "final_norm")}
    assert "up:linear" in of_part["feed-forward"] and "query:linear" in of_part["attention"]


def test_counts_are_the_models(result):
    assert result.operations == 3 * study.flops(GPT(SMOKE.config), 2, 16).forward
    assert result.memory == study.memory(GPT(SMOKE.config), 2, 16)
    assert result.parameters == 28_064
    assert len(result.step_seconds) == len(result.product_seconds) == 3
    median, least, most = result.tokens_per_second
    assert 0 < least <= median <= most
    assert result.step_speed == pytest.approx(result.operations * median / SMOKE.tokens)


def test_it_is_json(result):
    told = json.loads(json.dumps(result.to_dict(), allow_nan=False))
    assert told.keys() == {
        "model",
        "parameters",
        "batch_size",
        "step_seconds",
        "tokens_per_second",
        "operations",
        "gflops",
        "product_seconds",
        "product_share_of_step",
        "parts",
        "optimizer",
        "engine",
        "watching",
        "observed_seconds",
        "memory",
    }
    assert told["gflops"].keys() == {"peak", "products", "step", "step_share_of_peak"}
    assert told["memory"]["counted"] == sum(
        told["memory"][name] for name in ("parameters", "gradients", "optimizer", "activations")
    )


@pytest.mark.parametrize("length", [QUERY_ROWS // 2, 3 * QUERY_ROWS])
def test_the_products_alone_are_those_of_forward_and_backward(monkeypatch, length):
    """As many operations as are counted, and where blocks lie on the diagonal their hidden pairs besides."""
    config = gpt_like_nanogpt(65, length, 32, 2, 2)
    counted = study.flops(GPT(config), 3, length)
    worked = []

    def multiplied(a, b, out):
        worked.append(2 * out.size * a.shape[-1])
        return real(a, b, out=out)

    products, real = list(products_alone(counted.products)), np.matmul
    monkeypatch.setattr(np, "matmul", multiplied)
    for product in products:
        product()
    blocks = range(0, length, QUERY_ROWS)
    hidden = sum(rows * (rows - 1) // 2 for rows in (min(QUERY_ROWS, length - start) for start in blocks))
    assert sum(worked) == 3 * counted.forward + 3 * 2 * (2 * 3 * 2 * hidden * (16 + 16))


def test_how_much_memory_a_larger_batch_and_context_will_need():
    model = GPT(gpt_like_nanogpt(65, 320, 32, 2, 2))
    for batch, length in ((3, 100), (2, 256), (1, 320)):
        assert predicted_activations(model, batch, length) == pytest.approx(
            study.memory(model, batch, length).activations, rel=0.05
        )
    assert training_bytes(model, Workload(model.config, 10**6, 1)) > 10**6 * 320 * 32 * 4 * 2 * 10


def test_memory_that_was_held_for_a_moment_is_seen():
    mark = HighWaterMark()
    if mark.risen is None:
        pytest.skip("this system keeps no mark")
    np.ones(10_000_000)
    assert mark.highest > mark.risen >= 75_000_000  # the system counts in larger pieces than bytes
    again = HighWaterMark()
    np.ones(5_000_000)
    assert 0 <= again.risen < 75_000_000


def test_numbers_below_one_are_refused():
    for steps, warmup in ((0, 1), (1, 0)):
        with pytest.raises(ConfigError, match="at least 1"):
            measure(SMOKE, steps, warmup)


def test_the_exponent_is_that_of_a_power_law():
    assert fitted_exponent([2, 8, 32], [5 * x**1.7 for x in (2, 8, 32)]) == pytest.approx(1.7)


def test_growth_by_what_is_counted():
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


def test_growth_is_json():
    growth = Growth("batch", [Point(1, 0.5, 2.0, 10), Point(2, 1.0, 2.0, 40)])
    told = json.loads(json.dumps(growth.to_dict()))
    assert told["exponent"] == pytest.approx(1) and told["exponent_of_operations"] == pytest.approx(2)
    assert told["points"][1] == {"size": 2, "seconds": 1.0, "tokens_per_second": 2.0, "operations": 40}
