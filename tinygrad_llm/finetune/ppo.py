"""Proximal policy optimization (PPO): learning from rewards of whole answers (Schulman et al. 2017, arXiv:1707.06347).

    r = π(token) / π_old(token),    loss = -mean min(r · A, clip(r, 1 - ε, 1 + ε) · A)

π is the model in training (the policy), π_old the policy that sampled the answers. A is the advantage of a token: how
much better the answer became than a value function had expected (see `generalised_advantages`). The clipping takes away
the gradient of a token whose probability has already moved by more than ε in the direction that its advantage asks for.

As in Ouyang et al. 2022 (arXiv:2203.02155), a penalty on the Kullback-Leibler divergence from a frozen reference keeps
the policy near the model that it started from; here it is part of each token's reward (see rollouts.py).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from tinygrad_llm.arrays import Array
from tinygrad_llm.checks import expect_probability
from tinygrad_llm.errors import ConfigError, ShapeError
from tinygrad_llm.finetune.rollouts import RolloutBatch, token_log_probs
from tinygrad_llm.graph import TensorLike
from tinygrad_llm.primitives.operands import as_tensor
from tinygrad_llm.tensor import Tensor


def generalised_advantages(
    rewards: ArrayLike, values: ArrayLike, mask: ArrayLike | None = None, gamma: float = 1.0, lam: float = 0.95
) -> tuple[Array, Array]:
    """Advantages and returns of each token (generalised advantage estimation, Schulman et al. 2015, arXiv:1506.02438).

        δ_t = reward_t + γ value_{t+1} - value_t,    A_t = δ_t + γ λ A_{t+1},    return_t = A_t + value_t

    Both sums end with the last token of an answer: after it, value and advantage are 0. λ = 1 gives the sum of all
    rewards to come minus the value, λ = 0 gives δ alone. Tokens where `mask` is False belong to no answer: their
    advantages and returns are 0.

    Shapes: rewards, values, mask (B, T) -> advantages (B, T), returns (B, T)
    Raises: ShapeError if the shapes differ; ConfigError for a gamma or lam outside [0, 1]
    """
    expect_probability("generalised_advantages", "gamma", gamma)
    expect_probability("generalised_advantages", "lam", lam)
    rewards, values = np.asarray(rewards), np.asarray(values)
    counted = np.ones(rewards.shape, bool) if mask is None else np.asarray(mask, bool)
    if rewards.ndim != 2 or rewards.shape != values.shape or counted.shape != rewards.shape:
        raise ShapeError(
            "generalised_advantages: rewards, values and mask must all be (B, T); "
            f"got {rewards.shape}, {values.shape} and {counted.shape}"
        )
    rewards, values = np.where(counted, rewards, 0.0), np.where(counted, values, 0.0)
    advantages = np.zeros(rewards.shape, np.result_type(rewards, values))
    next_value = next_advantage = np.zeros(len(rewards), advantages.dtype)
    for t in reversed(range(rewards.shape[1])):
        delta = rewards[:, t] + gamma * next_value - values[:, t]
        advantages[:, t] = np.where(counted[:, t], delta + gamma * lam * next_advantage, 0.0)
        next_value, next_advantage = values[:, t], advantages[:, t]
    return advantages, np.where(counted, advantages + values, 0.0)


def clipped_objective(
    log_probs: TensorLike, old_log_probs: TensorLike, advantages: TensorLike, mask: Array, clip: float
) -> Tensor:
    """Per token, min(r A, clip(r, 1 - ε, 1 + ε) A); 0 where `mask` is False. Shapes: each (...) -> (...)"""
    if not isinstance(clip, int | float) or not 0 < clip < 1:
        raise ConfigError(f"clip must be a number between 0 and 1; got {clip!r}")
    ratio = (as_tensor(log_probs) - old_log_probs).masked_fill(~mask, 0.0).exp()
    better = as_tensor(advantages).masked_fill(~mask, 0.0)
    return (ratio * better).minimum(ratio.clip(1 - clip, 1 + clip) * better)


def mask_of(owner: str, mask: ArrayLike | None, **arrays: TensorLike) -> Array:
    """`mask` as booleans, True everywhere without one. Raises ShapeError unless all arrays have its shape."""
    shapes = {name: as_tensor(value).shape for name, value in arrays.items()}
    first = next(iter(shapes.values()))
    counted = np.ones(first, bool) if mask is None else np.asarray(mask, bool)
    shapes["mask"] = counted.shape
    if len(set(shapes.values())) > 1:
        told = ", ".join(f"{name} {shape}" for name, shape in shapes.items())
        raise ShapeError(f"{owner}: all arrays must have one shape; got {told}")
    return counted


def ppo_loss(
    log_probs: TensorLike,
    old_log_probs: TensorLike,
    advantages: TensorLike,
    mask: ArrayLike | None = None,
    clip: float = 0.2,
) -> Tensor:
    """The clipped loss of PPO, averaged over the tokens where `mask` is True (all without a mask); see above.

    Only `log_probs` of the policy need a gradient. Entries outside the mask may have any value.

    Shapes: each (...), usually (B, T) -> ()
    Raises: ShapeError if the shapes differ; ConfigError for a clip outside (0, 1)
    """
    counted = mask_of("ppo_loss", mask, log_probs=log_probs, old_log_probs=old_log_probs, advantages=advantages)
    objective = clipped_objective(log_probs, old_log_probs, advantages, counted, clip)
    return -objective.sum() / max(int(counted.sum()), 1)


def value_loss(
    values: TensorLike,
    old_values: TensorLike,
    returns: TensorLike,
    mask: ArrayLike | None = None,
    clip: float | None = 0.2,
) -> Tensor:
    """Half the squared error of the value function, averaged over the tokens where `mask` is True.

        max((value - return)², (clip(value, old - ε, old + ε) - return)²) / 2;   without clipping if `clip` is None

    Shapes: each (...), usually (B, T) -> ()
    Raises: ShapeError if the shapes differ; ConfigError for a clip that is not above 0
    """
    if clip is not None and (not isinstance(clip, int | float) or not clip > 0):
        raise ConfigError(f"value_loss: clip must be a number above 0, or None; got {clip!r}")
    counted = mask_of("value_loss", mask, values=values, old_values=old_values, returns=returns)
    new, old, goal = (as_tensor(x).masked_fill(~counted, 0.0) for x in (values, old_values, returns))
    squared = (new - goal) ** 2
    if clip is not None:
        squared = squared.maximum((old + (new - old).clip(-clip, clip) - goal) ** 2)
    return squared.sum() / (2 * max(int(counted.sum()), 1))


@dataclass(frozen=True)
class PPO:
    """The loss that a `Trainer` asks for on batches of rollouts: `ppo_loss` + `value_coefficient` · `value_loss`.

    The values are those of the policy's `value_head` (see `add_value_head`).
    """

    clip: float = 0.2
    value_clip: float = 0.2
    value_coefficient: float = 0.5

    def __call__(self, model: Any, batch: RolloutBatch) -> Tensor:
        log_probs, values = token_log_probs(model, batch.ids, batch.mask, with_values=True)
        policy = ppo_loss(log_probs, batch.old_log_probs, batch.advantages, batch.mask, self.clip)
        value = value_loss(values, batch.old_values, batch.returns, batch.mask, self.value_clip)
        return policy + value * self.value_coefficient
