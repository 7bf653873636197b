"""GRPO: advantages within groups, the loss by its definition and against PyTorch, the estimate of the KL divergence."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinygrad_llm import Tensor
from tinygrad_llm.errors import ConfigError, ShapeError
from tinygrad_llm.finetune import group_advantages, grpo_loss, kl_estimate
from tinygrad_llm.testing import check_gradient


def arrays(seed: int, rows: int = 4, columns: int = 6) -> tuple[Any, ...]:
    rng = np.random.RandomState(seed)
    log_probs = -rng.exponential(size=(rows, columns))
    old, reference = (log_probs + 0.3 * rng.normal(size=log_probs.shape) for _ in range(2))
    mask = rng.uniform(size=log_probs.shape) < 0.7
    return log_probs, old, rng.normal(size=rows), mask, reference


def loss_by_hand(log_probs: Any, old: Any, advantages: Any, mask: Any, reference: Any, beta: float) -> float:
    answers = []
    for row in range(len(log_probs)):
        terms = []
        for t in np.flatnonzero(mask[row]):
            ratio = np.exp(log_probs[row, t] - old[row, t])
            away = reference[row, t] - log_probs[row, t]
            a = advantages[row]
            terms.append(min(ratio * a, min(max(ratio, 0.8), 1.2) * a) - beta * (np.exp(away) - away - 1))
        answers.append(np.mean(terms) if terms else 0.0)
    return -float(np.mean(answers))


@given(st.integers(0, 10_000), st.sampled_from([0.0, 0.04, 1.0]))
def test_the_loss_by_its_definition(seed: int, beta: float) -> None:
    log_probs, old, advantages, mask, reference = arrays(seed)
    loss = grpo_loss(log_probs, old, advantages, mask, reference, beta=beta)
    expected = loss_by_hand(log_probs, old, advantages, mask, reference, beta)
    np.testing.assert_allclose(loss.item(), expected, rtol=1e-12, atol=1e-14)


@given(st.integers(0, 10_000))
def test_gradients_by_finite_differences(seed: int) -> None:
    log_probs, old, advantages, mask, reference = arrays(seed)
    check_gradient(lambda x: grpo_loss(x, old, advantages, mask, reference), log_probs)


@given(st.integers(0, 10_000))
def test_loss_and_gradient_against_pytorch(seed: int) -> None:
    torch = pytest.importorskip("torch")
    log_probs, old, advantages, mask, reference = arrays(seed)
    mask[:, 0] = True
    ours, theirs = Tensor(log_probs, requires_grad=True), torch.tensor(log_probs, requires_grad=True)
    ratio, better, counted = (theirs - torch.tensor(old)).exp(), torch.tensor(advantages)[:, None], torch.tensor(mask)
    away = torch.tensor(reference) - theirs
    per_token = torch.min(ratio * better, ratio.clamp(0.8, 1.2) * better) - 0.04 * (away.exp() - away - 1)
    expected = -((per_token * counted).sum(1) / counted.sum(1)).mean()
    loss = grpo_loss(ours, old, advantages, mask, reference)
    loss.backward()
    expected.backward()
    np.testing.assert_allclose(loss.item(), expected.item(), rtol=0, atol=1e-12)
    np.testing.assert_allclose(ours.grad, theirs.grad.numpy(), rtol=0, atol=1e-12)


def test_advantages_per_token_are_taken_as_well() -> None:
    log_probs, old, advantages, mask, _ = arrays(3)
    per_token = np.repeat(advantages[:, None], log_probs.shape[1], axis=1)
    assert grpo_loss(log_probs, old, per_token, mask).item() == grpo_loss(log_probs, old, advantages, mask).item()


def test_what_the_mask_leaves_out_may_be_anything() -> None:
    log_probs, old, advantages, mask, reference = arrays(4)
    expected = grpo_loss(log_probs, old, advantages, mask, reference).item()
    spoilt = [np.where(mask, x, -np.inf) for x in (log_probs, old, reference)]
    x = Tensor(spoilt[0], requires_grad=True)
    loss = grpo_loss(x, spoilt[1], advantages, mask, spoilt[2])
    loss.backward()
    assert loss.item() == expected and np.isfinite(x.grad).all() and not x.grad[~mask].any()


def test_the_estimate_of_the_divergence_is_right_on_average_and_never_negative() -> None:
    policy, reference = np.array([0.5, 0.3, 0.2]), np.array([0.2, 0.2, 0.6])
    estimates = kl_estimate(np.log(policy), np.log(reference)).data
    assert (estimates >= 0).all()
    divergence = (policy * np.log(policy / reference)).sum()
    np.testing.assert_allclose((policy * estimates).sum(), divergence, rtol=1e-12)


@given(st.integers(0, 1000), st.integers(2, 6))
def test_advantages_compare_within_a_group(seed: int, size: int) -> None:
    rewards = np.random.RandomState(seed).normal([[0.0], [100.0], [-5.0]], size=(3, size))
    advantages = group_advantages(rewards)
    np.testing.assert_allclose(advantages.mean(axis=1), 0, atol=1e-9)
    np.testing.assert_allclose(advantages.std(axis=1), 1, rtol=1e-3)
    assert (advantages.argmax(axis=1) == rewards.argmax(axis=1)).all()


def test_a_group_of_equal_rewards_teaches_nothing() -> None:
    assert not group_advantages([[1.0, 1.0, 1.0]]).any()


def test_refusals() -> None:
    zeros = np.zeros((2, 3))
    with pytest.raises(ShapeError, match=r"advantages must be \(2,\) or \(2, 3\) to match log_probs; got \(3,\)"):
        grpo_loss(zeros, zeros, np.zeros(3))
    with pytest.raises(ShapeError, match=r"log_probs must be \(B, T\), a row for each answer; got \(3,\)"):
        grpo_loss(zeros[0], zeros[0], np.zeros(3))
    with pytest.raises(ConfigError, match="beta must be a finite number of at least 0; got -1"):
        grpo_loss(zeros, zeros, np.zeros(2), beta=-1)
    with pytest.raises(ShapeError, match=r"rewards must be \(G, N\), a row for each group; got \(2,\)"):
        group_advantages([1.0, 2.0])
