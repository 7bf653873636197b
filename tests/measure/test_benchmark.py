"""The counts of a benchmark are right and its parts add up; durations are not tested."""

import json

import pytest

from tinygrad_llm import study
from tinygrad_llm.errors import ConfigError
from tinygrad_llm.measure import benchmark
from tinygrad_llm.measure.benchmark import PARTS, Benchmark, measure, predicted_activations, training_bytes
from tinygrad_llm.measure.training_step import PRESETS, Workload, gpt_like_nanogpt
from tinygrad_llm.models import GPT

SMOKE = PRESETS["smoke"]


@pytest.fixture(scope="module")
def result() -> Benchmark:
    return measure(SMOKE, steps=3, warmup=1)


def test_the_parts_add_up_to_the_observed_step(result: Benchmark) -> None:
    assert list(result.parts) == list(PARTS)
    told = sum(map(sum, result.parts.values())) + result.optimizer + result.engine + result.watching
    assert told == pytest.approx(result.observed_seconds, rel=1e-9)
    assert all(forward > 0 and backward > 0 for forward, backward in result.parts.values())


def test_every_operation_of_a_gpt_has_its_part() -> None:
    times = study.time(GPT(SMOKE.config), 2, 8)
    of_part = {name: set() for name in PARTS}
    for path, operation in times.forward:
        of_part[benchmark._part(path, operation)].add(path.split(".")[-1] + ":" + operation)
    assert of_part["residual sums"] == {"0:add", "1:add"}
    assert of_part["loss"] == {"loss:linear_cross_entropy"}
    assert of_part["embedding"] == {"token_embedding:embedding", "position_embedding:embedding", "loss:add"}
    assert of_part["norms"] == {f"{name}:layer_norm" for name in ("norm1", "norm2", "final_norm")}
    assert "up:linear" in of_part["feed-forward"] and "query:linear" in of_part["attention"]


def test_counts_are_those_of_the_model(result: Benchmark) -> None:
    assert result.operations == 3 * study.flops(GPT(SMOKE.config), 2, 16).forward
    assert result.memory == study.memory(GPT(SMOKE.config), 2, 16)
    assert result.parameters == 28_064
    assert len(result.step_seconds) == len(result.product_seconds) == 3
    median, least, most = result.tokens_per_second
    assert 0 < least <= median <= most
    assert result.step_speed == pytest.approx(result.operations * median / SMOKE.tokens)


def test_a_benchmark_converts_to_json(result: Benchmark) -> None:
    told = json.loads(json.dumps(result.to_dict(), allow_nan=False))
    assert told.keys() == {
        "architecture",
        "model",
        "parameters",
        "batch_size",
        "workers",
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


def test_predicted_activations_are_near_the_counted_ones() -> None:
    model = GPT(gpt_like_nanogpt(65, 320, 32, 2, 2))
    for batch, length in ((3, 100), (2, 256), (1, 320)):
        assert predicted_activations(model, batch, length) == pytest.approx(
            study.memory(model, batch, length).activations, rel=0.05
        )
    assert training_bytes(model, Workload(model.config, 10**6, 1)) > 10**6 * 320 * 32 * 4 * 2 * 10


def test_numbers_below_one_are_refused() -> None:
    for steps, warmup in ((0, 1), (1, 0)):
        with pytest.raises(ConfigError, match="at least 1"):
            measure(SMOKE, steps, warmup)
