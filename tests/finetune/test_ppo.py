"""PPO: the clipped loss, the value loss and the generalised advantages, by their definitions and against PyTorch."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinygrad_llm import Tensor
from tinygrad_llm.errors import ConfigError, ShapeError
from tinygrad_llm.finetune import generalised_advantages, ppo_loss, value_loss
from tinygrad_llm.testing import check_gradient


def arrays(seed: int, rows: int = 3, columns: int = 5) -> tuple[Any, ...]:
    """Log-probabilities, old ones close to them, advantages, and a mask with at least one True."""
    rng = np.random.RandomState(seed)
    log_probs = -rng.exponential(size=(rows, columns))
    old = log_probs + 0.3 * rng.normal(size=log_probs.shape)
    mask = rng.uniform(size=log_probs.shape) < 0.7
    mask[0, 0] = True
    return log_probs, old, rng.normal(size=log_probs.shape), mask


# -- the clipped loss


def clipped_by_hand(log_probs: Any, old: Any, advantages: Any, mask: Any, clip: float) -> float:
    terms = []
    for place in zip(*np.nonzero(mask), strict=True):
        ratio = np.exp(log_probs[place] - old[place])
        inside = min(max(ratio, 1 - clip), 1 + clip)
        terms.append(min(ratio * advantages[place], inside * advantages[place]))
    return -float(np.mean(terms))


@given(st.integers(0, 10_000), st.sampled_from([0.1, 0.2, 0.5]))
def test_the_loss_by_its_definition(seed: int, clip: float) -> None:
    log_probs, old, advantages, mask = arrays(seed)
    loss = ppo_loss(log_probs, old, advantages, mask, clip)
    np.testing.assert_allclose(loss.item(), clipped_by_hand(log_probs, old, advantages, mask, clip), rtol=1e-12)


@given(st.integers(0, 10_000))
def test_gradients_by_finite_differences(seed: int) -> None:
    log_probs, old, advantages, mask = arrays(seed)
    check_gradient(lambda x: ppo_loss(x, old, advantages, mask), log_probs)


def test_without_a_difference_the_gradient_is_minus_the_mean_advantage() -> None:
    log_probs, _, advantages, mask = arrays(0)
    x = Tensor(log_probs, requires_grad=True)
    ppo_loss(x, log_probs, advantages, mask).backward()
    np.testing.assert_allclose(x.grad, np.where(mask, -advantages, 0) / mask.sum(), rtol=1e-12)


def test_a_ratio_beyond_the_clip_has_no_gradient_in_the_direction_of_its_advantage() -> None:
    x = Tensor(np.log([1.5, 0.5, 1.5, 0.5]), requires_grad=True)
    ppo_loss(x, np.zeros(4), np.array([1.0, -1.0, -1.0, 1.0]), clip=0.2).backward()
    assert (x.grad[:2] == 0).all() and (x.grad[2:] != 0).all()  # a wrong direction keeps its gradient


def test_what_the_mask_leaves_out_may_be_anything() -> None:
    log_probs, old, advantages, mask = arrays(1)
    expected = ppo_loss(log_probs, old, advantages, mask).item()
    spoilt = [np.where(mask, x, bad) for x, bad in ((log_probs, -np.inf), (old, -np.inf), (advantages, np.nan))]
    x = Tensor(spoilt[0], requires_grad=True)
    loss = ppo_loss(x, spoilt[1], spoilt[2], mask)
    assert loss.item() == expected
    loss.backward()
    assert np.isfinite(x.grad).all() and (x.grad[~mask] == 0).all()


def test_the_value_loss_by_its_definition() -> None:
    values, old, returns, mask = arrays(2)
    terms = [
        max((v - r) ** 2, (o + min(max(v - o, -0.2), 0.2) - r) ** 2) / 2
        for v, o, r in zip(values[mask], old[mask], returns[mask], strict=True)
    ]
    np.testing.assert_allclose(value_loss(values, old, returns, mask).item(), np.mean(terms), rtol=1e-12)
    plain = ((values - returns)[mask] ** 2).mean() / 2
    np.testing.assert_allclose(value_loss(values, old, returns, mask, clip=None).item(), plain, rtol=1e-12)
    check_gradient(lambda x: value_loss(x, old, returns, mask), values)


# -- advantages


def advantages_by_sums(rewards: Any, values: Any, gamma: float, lam: float) -> Any:
    """The definition as a double sum, for one answer: A_t = Σ_l (γλ)^l δ_(t+l)."""
    count = len(rewards)
    after = np.append(values[1:], 0.0)
    delta = rewards + gamma * after - values
    return np.array([sum((gamma * lam) ** (i - t) * delta[i] for i in range(t, count)) for t in range(count)])


@given(st.integers(0, 10_000), st.sampled_from([1.0, 0.9, 0.0]), st.sampled_from([1.0, 0.95, 0.0]))
def test_advantages_by_their_sums(seed: int, gamma: float, lam: float) -> None:
    rng = np.random.RandomState(seed)
    length, first = rng.randint(1, 6), rng.randint(0, 3)
    rewards, values = rng.normal(size=(2, 1, 9))
    mask = np.zeros((1, 9), bool)
    mask[0, first : first + length] = True
    advantages, returns = generalised_advantages(rewards, values, mask, gamma, lam)
    part = slice(first, first + length)
    expected = advantages_by_sums(rewards[0, part], values[0, part], gamma, lam)
    np.testing.assert_allclose(advantages[0, part], expected, rtol=1e-10, atol=1e-12)
    np.testing.assert_allclose(returns[0, part], expected + values[0, part], rtol=1e-10, atol=1e-12)
    assert not advantages[~mask].any() and not returns[~mask].any()


def test_with_lambda_one_the_return_is_the_sum_of_the_rewards_to_come() -> None:
    rewards = np.array([[0.0, 1.0, 2.0, 4.0]])
    _, returns = generalised_advantages(rewards, np.full((1, 4), 7.0), lam=1.0)
    assert returns.tolist() == [[7.0, 7.0, 6.0, 4.0]]


# -- PyTorch


@given(st.integers(0, 10_000))
def test_losses_and_gradients_against_pytorch(seed: int) -> None:
    torch = pytest.importorskip("torch")
    log_probs, old, advantages, mask = arrays(seed)
    ours, theirs = Tensor(log_probs, requires_grad=True), torch.tensor(log_probs, requires_grad=True)
    ratio, better = (theirs - torch.tensor(old)).exp(), torch.tensor(advantages)
    objective = torch.minimum(ratio * better, ratio.clamp(0.8, 1.2) * better)
    expected = -objective[torch.tensor(mask)].mean()
    loss = ppo_loss(ours, old, advantages, mask)
    loss.backward()
    expected.backward()
    np.testing.assert_allclose(loss.item(), expected.item(), rtol=0, atol=1e-12)
    np.testing.assert_allclose(ours.grad, theirs.grad.numpy(), rtol=0, atol=1e-12)


# -- refusals


def test_refusals() -> None:
    zeros = np.zeros((2, 3))
    with pytest.raises(ShapeError, match=r"ppo_loss: all arrays must have one shape; got log_probs \(2, 3\), old_log_"):
        ppo_loss(zeros, zeros[:1], zeros)
    with pytest.raises(ConfigError, match="clip must be a number between 0 and 1; got 1"):
        ppo_loss(zeros, zeros, zeros, clip=1)
    with pytest.raises(ConfigError, match="value_loss: clip must be a number above 0, or None; got -1"):
        value_loss(zeros, zeros, zeros, clip=-1)
    with pytest.raises(ShapeError, match=r"rewards, values and mask must all be \(B, T\); got \(3,\)"):
        generalised_advantages(zeros[0], zeros[0])
    with pytest.raises(ConfigError, match=r"gamma must be a probability in \[0, 1\]; got 2"):
        generalised_advantages(zeros, zeros, gamma=2)
