"""SGD in all its variants against PyTorch's numbers."""

import math
from typing import Any

import numpy as np
import pytest

from tinygrad_llm import Tensor
from tinygrad_llm.errors import ConfigError
from tinygrad_llm.optim import SGD

# Made with torch.optim.SGD (2.13) in float64, lr 0.1, 20 steps.
BY_TORCH = [
    ({}, [0.49147233663078455, -1.0099822188441983, 1.0065934618520578, -7.525780203185582e-09]),
    (
        {"weight_decay": 0.1},
        [0.4161701587669127, -0.8263219377976457, 0.6543181730784889, -2.191087620643733e-08],
    ),
    (
        {"momentum": 0.9, "weight_decay": 0.1},
        [-0.20813077112693332, -0.14375570317944472, 0.10367421558618574, 2.4507450208260973e-07],
    ),
    (
        {"momentum": 0.9, "nesterov": True, "weight_decay": 0.1},
        [-0.09446446279380366, -0.13902421828359393, -0.8144813572276898, 1.2453893172995596e-07],
    ),
    (
        {"momentum": 0.9, "dampening": 0.5},
        [0.15136151598338718, -1.07332696086059, -2.4373603668898065, 2.537664009662099e-07],
    ),
]


@pytest.mark.parametrize(("hyperparameters", "expected"), BY_TORCH)
def test_twenty_steps_equal_pytorch(hyperparameters: dict[str, Any], expected: list[float]) -> None:
    weight = Tensor(np.array([0.5, -1.0, 2.0, 0.0]), requires_grad=True)
    data = weight.data
    optimizer = SGD([weight], lr=0.1, **hyperparameters)
    for step in range(20):
        weight.grad = np.array([math.sin(step + i) for i in range(4)]) * [1.0, 0.1, 10.0, 1e-6]
        optimizer.step()
    assert weight.data is data
    np.testing.assert_allclose(data, expected, rtol=0, atol=1e-14)


def test_by_hand_with_momentum() -> None:
    weight = Tensor([1.0], requires_grad=True)
    optimizer = SGD([weight], lr=0.5, momentum=0.5)
    for expected in (0.5, -0.25):  # b = 1, then 0.5 · 1 + 1 = 1.5
        weight.grad = np.ones(1, np.float32)
        optimizer.step()
        assert weight.data[0] == expected
    assert weight.grad[0] == 1


def test_without_momentum_there_is_no_state() -> None:
    weight = Tensor([1.0], requires_grad=True)
    optimizer = SGD([weight], lr=0.5)
    weight.grad = np.ones(1, np.float32)
    optimizer.step()
    assert optimizer.state_dict()["state"] == {}


@pytest.mark.parametrize(
    "wrong",
    [
        {"lr": -1.0},
        {"momentum": -0.1},
        {"weight_decay": -1},
        {"nesterov": True},
        {"nesterov": True, "momentum": 0.9, "dampening": 0.1},
        {"dampening": float("nan")},
    ],
)
def test_hyperparameters_outside_their_range(wrong: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=next(iter(wrong))):
        SGD([Tensor([1.0], requires_grad=True)], **wrong)
