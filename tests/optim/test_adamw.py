"""AdamW against PyTorch's numbers, its own formula, and the layouts that arrays may have."""

import math
from typing import Any

import numpy as np
import pytest

from tinygrad_llm import Tensor
from tinygrad_llm.errors import ConfigError
from tinygrad_llm.optim import AdamW
from tinygrad_llm.optim.blocks import BLOCK

START = [0.5, -1.0, 2.0, 0.0]
SCALES = np.array([1.0, 0.1, 10.0, 1e-6])


def gradient(step: int) -> np.ndarray:
    return np.array([math.sin(step + i) for i in range(4)]) * SCALES


def after_20_steps(dtype: type = np.float64, **hyperparameters: object) -> np.ndarray:
    weight = Tensor(np.array(START, dtype), requires_grad=True)
    optimizer = AdamW([weight], **hyperparameters)
    for step in range(20):
        weight.grad = gradient(step).astype(dtype)
        optimizer.step()
    return weight.data


# Made with torch.optim.AdamW (2.13) in float64 from the same start and gradients.
BY_TORCH = [
    ({}, [0.4968258692308937, -1.003411899726535, 1.9982534651833082, 0.0018729766740972105]),
    (
        {"lr": 0.01, "betas": (0.9, 0.95), "eps": 1e-8, "weight_decay": 0.1},
        [0.46007879556273457, -1.015841465050897, 1.947090309976896, 0.01822996222938044],
    ),
]


@pytest.mark.parametrize(("hyperparameters", "expected"), BY_TORCH)
def test_twenty_steps_equal_pytorch(hyperparameters: dict[str, Any], expected: list[float]) -> None:
    np.testing.assert_allclose(after_20_steps(**hyperparameters), expected, rtol=0, atol=1e-14)
    np.testing.assert_allclose(after_20_steps(np.float32, **hyperparameters), expected, rtol=0, atol=1e-6)


def test_first_step_moves_by_the_learning_rate_against_the_sign() -> None:
    weight = Tensor(np.array([1.0, 1.0, 1.0]), requires_grad=True)
    weight.grad = np.array([5.0, -1e-3, 0.0])
    AdamW([weight], lr=0.1, eps=1e-12, weight_decay=0.0).step()
    np.testing.assert_allclose(weight.data, [0.9, 1.1, 1.0], atol=1e-9)


def test_decay_is_decoupled_from_the_gradient() -> None:
    weight = Tensor(np.array([2.0]), requires_grad=True)
    weight.grad = np.zeros(1)
    AdamW([weight], lr=0.1, weight_decay=0.5).step()
    assert weight.data[0] == 2.0 * (1 - 0.1 * 0.5)


def test_updates_in_place() -> None:
    data = np.ones((3, 2), np.float32)
    weight = Tensor(data, requires_grad=True)
    weight.grad = np.full((3, 2), 0.5, np.float32)
    AdamW([weight]).step()
    assert weight.data is data
    assert (data < 1).all()
    assert (weight.grad == 0.5).all()


def test_float64_hyperparameters_do_not_promote_float32() -> None:
    draw = np.random.default_rng(5)
    start, grads = draw.standard_normal(1000), [draw.standard_normal(1000).astype(np.float32) for _ in range(3)]
    results = []
    for number in (float, np.float64):
        weight = Tensor(start.astype(np.float32), requires_grad=True)
        optimizer = AdamW([weight], number(1e-2), (number(0.9), number(0.999)), number(1e-8), number(0.1))
        for grad in grads:
            weight.grad = grad.copy()
            optimizer.step()
        assert optimizer.state[weight]["exp_avg_sq"].dtype == np.float32
        results.append(weight.data.tobytes())
    assert results[0] == results[1]


def test_a_parameter_without_gradient_is_skipped_with_its_decay_and_its_count() -> None:
    used = Tensor(np.ones(2), requires_grad=True)
    unused = Tensor(np.ones(2), requires_grad=True)
    optimizer = AdamW([used, unused], weight_decay=0.1)
    used.grad = np.ones(2)
    optimizer.step()
    assert (unused.data == 1).all()
    assert unused not in optimizer.state
    unused.grad = np.ones(2)
    optimizer.step()
    assert (optimizer.state[used]["step"], optimizer.state[unused]["step"]) == (2, 1)


@pytest.mark.parametrize("shape", [(), (0, 3), (1,), (BLOCK,), (BLOCK + 1,), (300, 2 * BLOCK // 300)])
def test_blocks_change_nothing(shape: tuple[Any, ...]) -> None:
    """One element alone gives the same bits as inside an array of any size."""
    draw = np.random.default_rng(3)
    start, grads = draw.standard_normal(shape), [draw.standard_normal(shape) for _ in range(3)]
    whole = Tensor(np.array(start), requires_grad=True)
    optimizer = AdamW([whole])
    for grad in grads:
        whole.grad = np.array(grad)
        optimizer.step()
    for index in {0, start.size // 2, start.size - 1} if start.size else ():
        alone = Tensor(start.reshape(-1)[index : index + 1].copy(), requires_grad=True)
        optimizer = AdamW([alone])
        for grad in grads:
            alone.grad = grad.reshape(-1)[index : index + 1].copy()
            optimizer.step()
        assert whole.data.reshape(-1)[index] == alone.data[0]


@pytest.mark.parametrize("strided", ["weight", "gradient", "both"])
def test_strides_change_nothing(strided: str) -> None:
    draw = np.random.default_rng(4)
    start, grad = draw.standard_normal((300, 400)), draw.standard_normal((300, 400))
    plain = Tensor(start.copy(), requires_grad=True)
    other = Tensor(start.T.copy().T if strided != "gradient" else start.copy(), requires_grad=True)
    optimizer = AdamW([plain, other])
    for _ in range(2):
        plain.grad = grad.copy()
        other.grad = np.repeat(grad, 2, axis=0)[::2] if strided != "weight" else grad.copy()
        optimizer.step()
    assert (plain.data == other.data).all()


@pytest.mark.parametrize(
    "wrong",
    [
        {"lr": -1e-3},
        {"lr": float("nan")},
        {"lr": "fast"},
        {"lr": True},
        {"eps": -1.0},
        {"weight_decay": -0.1},
        {"betas": (0.9, 1.0)},
        {"betas": (-0.1, 0.9)},
        {"betas": 0.9},
        {"betas": (0.9, 0.9, 0.9)},
        {"weight_decay": float("inf")},
    ],
)
def test_hyperparameters_outside_their_range(wrong: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=next(iter(wrong))):
        AdamW([Tensor([1.0], requires_grad=True)], **wrong)


def test_eps_0_gives_nan_without_a_warning_where_no_gradient_came() -> None:
    weight = Tensor(np.array([1.0, 1.0]), requires_grad=True)
    weight.grad = np.array([0.5, 0.0])
    AdamW([weight], lr=0.1, eps=0.0, weight_decay=0.0).step()
    np.testing.assert_allclose(weight.data, [0.9, np.nan])
