"""The arithmetic of a training, compared with models that are built and run, and with the figures of GPT-3's paper."""

from typing import Any

import pytest

from tinygrad_llm import nn, study
from tinygrad_llm.cli.cost import PAPER, TOKENS
from tinygrad_llm.errors import ConfigError
from tinygrad_llm.models import GPT, GPTConfig
from tinygrad_llm.models.presets import GPT3
from tinygrad_llm.study.training_cost import DEVICES, PETAFLOPS_DAY, TrainingCost, parameters_of, seen_on_average

TINY = {"vocab_size": 13, "context_length": 10, "embedding_dim": 8, "num_heads": 2, "num_layers": 3}
VARIANTS: list[dict[str, Any]] = [
    {},
    {"tie_weights": True, "qkv_bias": True},
    {"feed_forward_dim": 5},
    {"window": 3, "window_pattern": "2:1"},
    {"window": 99},
]


@pytest.mark.parametrize("changes", VARIANTS)
def test_parameters_and_operations_are_those_of_the_model(changes: dict[str, Any]) -> None:
    config = GPTConfig(**TINY, **changes)
    model = GPT(config)
    assert parameters_of(config) == model.num_parameters()
    counted = study.flops(model, 2, 10)
    cost = TrainingCost(config, 20, DEVICES["v100"])
    assert cost.operations == pytest.approx(counted.forward + counted.backward, rel=1e-12)


def test_tokens_seen() -> None:
    for context, window in ((6, None), (6, 1), (6, 4), (6, 6), (6, 9)):
        seen = [min(place + 1, window or context) for place in range(context)]
        assert seen_on_average(context, window) == pytest.approx(sum(seen) / context)


@pytest.mark.parametrize("name", GPT3)
def test_gpt3_is_that_of_the_paper(name: str) -> None:
    cost = TrainingCost(GPTConfig.preset(name), TOKENS, DEVICES["v100"])
    millions, operations = PAPER[name]
    assert cost.parameters == pytest.approx(millions * 1e6, rel=0.004)
    assert cost.six_n_d == pytest.approx(operations, rel=0.006)
    assert 1.01 < cost.operations / cost.six_n_d < 1.15  # attention comes in addition


def test_days_price_and_energy() -> None:
    """The widely quoted estimate: 355 years of one V100 at 28e12 operations per second, 4.6 million dollars."""
    cost = TrainingCost(GPTConfig.preset("gpt3-175b"), TOKENS, DEVICES["v100"], utilisation=28 / 125)
    assert cost.device_days / 365.25 == pytest.approx(355, rel=0.02)
    assert cost.price == pytest.approx(4.6e6, rel=0.04)  # attention was not counted there
    assert cost.operations / PETAFLOPS_DAY == pytest.approx(3640, rel=0.02)  # the paper's table D.1
    many = TrainingCost(cost.config, TOKENS, DEVICES["v100"], 1000, 28 / 125, overhead=1.0)
    assert many.days == pytest.approx(cost.days / 1000) and many.price == pytest.approx(cost.price)
    assert many.energy == pytest.approx(many.device_days * 24 * 0.3)


@pytest.mark.parametrize("changes", [{"tokens": 0}, {"devices": 0}, {"utilisation": 1.5}, {"overhead": 0.5}])
def test_refusals(changes: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=next(iter(changes))):
        TrainingCost(**{"config": GPTConfig(), "tokens": 10, "device": DEVICES["a100"], **changes})


def test_nothing_is_allocated() -> None:
    with nn.init.no_initial_values():
        assert parameters_of(GPTConfig.preset("gpt3-small")) == GPT(GPTConfig.preset("gpt3-small")).num_parameters()
