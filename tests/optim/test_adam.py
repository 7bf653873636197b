"""Adam and AMSGrad against PyTorch's numbers, and against AdamW where both are one."""

import math
from typing import Any

import numpy as np
import pytest

from tinygrad_llm import Tensor
from tinygrad_llm.optim import Adam, AdamW

START = [0.5, -1.0, 2.0, 0.0]
SCALES = np.array([1.0, 0.1, 10.0, 1e-6])


def after_20_steps(kind: type, **hyperparameters: Any) -> np.ndarray:
    weight = Tensor(np.array(START), requires_grad=True)
    optimizer = kind([weight], **hyperparameters)
    for step in range(20):
        weight.grad = np.array([math.sin(step + i) for i in range(4)]) * SCALES
        optimizer.step()
    return weight.data


@pytest.mark.parametrize("amsgrad", [False, True])
@pytest.mark.parametrize(
    "options", [{}, {"lr": 0.01, "betas": (0.9, 0.95), "weight_decay": 0.1}, {"lr": 0.1, "eps": 1e-3}]
)
@pytest.mark.parametrize("name", ["Adam", "AdamW"])
def test_twenty_steps_equal_pytorch(name: str, options: dict[str, Any], amsgrad: bool) -> None:
    torch = pytest.importorskip("torch")
    weight = torch.tensor(START, dtype=torch.float64, requires_grad=True)
    optimizer = getattr(torch.optim, name)([weight], amsgrad=amsgrad, **options)
    for step in range(20):
        weight.grad = torch.tensor([math.sin(step + i) for i in range(4)], dtype=torch.float64) * torch.tensor(SCALES)
        optimizer.step()
    decoupled = name == "AdamW"
    ours = after_20_steps(
        Adam,
        **{"weight_decay": 0.01 if decoupled else 0.0} | options,
        amsgrad=amsgrad,
        decoupled_weight_decay=decoupled,
    )
    np.testing.assert_allclose(ours, weight.detach().numpy(), rtol=0, atol=1e-12)


def test_with_decoupled_decay_it_is_adamw() -> None:
    options = {"lr": 0.05, "weight_decay": 0.3}
    ours = after_20_steps(Adam, decoupled_weight_decay=True, **options)
    np.testing.assert_allclose(ours, after_20_steps(AdamW, **options), rtol=0, atol=1e-15)


def test_the_state_is_saved_and_loaded_with_the_largest_second_moment() -> None:
    weight = Tensor(np.array(START), requires_grad=True)
    optimizer = Adam([weight], amsgrad=True)
    weight.grad = np.ones(4)
    optimizer.step()
    other = Adam([Tensor(weight.data.copy(), requires_grad=True)], amsgrad=True)
    other.load_state_dict(optimizer.state_dict())
    np.testing.assert_allclose(other.state_dict()["state"][0]["max_exp_avg_sq"], np.full(4, 1e-3))


def test_amsgrad_keeps_the_step_small_after_a_large_gradient() -> None:
    moved = []
    for amsgrad in (False, True):
        weight = Tensor(np.zeros(1), requires_grad=True)
        optimizer = Adam([weight], lr=0.1, betas=(0.0, 0.5), amsgrad=amsgrad)
        for gradient in (100.0, *[1.0] * 30):
            before = weight.data.copy()
            weight.grad = np.array([gradient])
            optimizer.step()
        moved.append(float(np.abs(weight.data - before)[0]))
    assert moved[1] < moved[0] / 10


@pytest.mark.parametrize("kind", [Adam, AdamW])
def test_epsilon_zero_without_a_gradient_gives_nan_without_a_warning(kind: type) -> None:
    weight = Tensor(np.ones(2), requires_grad=True)
    optimizer = kind([weight], eps=0.0)
    weight.grad = np.array([0.0, 1.0])
    optimizer.step()
    assert np.isnan(weight.data[0]) and np.isfinite(weight.data[1])
