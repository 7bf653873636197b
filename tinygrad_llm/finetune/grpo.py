"""Group relative policy optimization (GRPO): PPO without a value function (Shao et al. 2024, arXiv:2402.03300).

The policy answers each question several times. The advantage of an answer, the same for all its tokens, is how far its
reward lies above the mean of its group, in standard deviations:

    A = (reward - mean of the group) / (std of the group + 1e-6)

    loss = -mean over answers of mean over tokens of [min(r · A, clip(r, 1 - ε, 1 + ε) · A) - β · KL]

    KL = π_ref / π - ln(π_ref / π) - 1

KL is an estimate of the divergence from the frozen reference that is never negative (Schulman 2020, "Approximating KL
divergence"); β keeps the policy near the reference.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from tinygrad_llm.arrays import Array
from tinygrad_llm.errors import ConfigError, ShapeError
from tinygrad_llm.finetune.ppo import clipped_objective, mask_of
from tinygrad_llm.finetune.rollouts import RolloutBatch, token_log_probs
from tinygrad_llm.graph import TensorLike
from tinygrad_llm.primitives.operands import as_tensor
from tinygrad_llm.tensor import Tensor


def group_advantages(rewards: ArrayLike, epsilon: float = 1e-6) -> Array:
    """Each reward minus the mean of its group, divided by the group's standard deviation + epsilon.

    A group whose rewards are all equal has advantages of 0: it teaches nothing.

    Shapes: rewards (G, N), a row for each group of N answers -> (G, N)
    Raises: ShapeError for rewards that are not (G, N)
    """
    rewards = np.asarray(rewards, np.float64)
    if rewards.ndim != 2:
        raise ShapeError(f"group_advantages: rewards must be (G, N), a row for each group; got {rewards.shape}")
    centred = rewards - rewards.mean(axis=1, keepdims=True)
    return centred / (rewards.std(axis=1, keepdims=True) + epsilon)


def grpo_loss(
    log_probs: TensorLike,
    old_log_probs: TensorLike,
    advantages: TensorLike,
    mask: ArrayLike | None = None,
    reference_log_probs: TensorLike | None = None,
    clip: float = 0.2,
    beta: float = 0.04,
) -> Tensor:
    """The loss of GRPO: a mean over the tokens of each answer, then over the answers (see above).

    Without `reference_log_probs` there is no KL penalty. Entries outside the mask may have any value; an answer without
    a token adds 0.

    Shapes: log_probs, old_log_probs, reference_log_probs, mask (B, T), advantages (B,) or (B, T) -> ()
    Raises: ShapeError if the shapes do not fit; ConfigError for a clip outside (0, 1) or a beta below 0
    """
    if not isinstance(beta, int | float) or not math.isfinite(beta) or beta < 0:
        raise ConfigError(f"grpo_loss: beta must be a finite number of at least 0; got {beta!r}")
    counted = mask_of("grpo_loss", mask, log_probs=log_probs, old_log_probs=old_log_probs)
    if counted.ndim != 2:
        raise ShapeError(f"grpo_loss: log_probs must be (B, T), a row for each answer; got {counted.shape}")
    better = as_tensor(advantages)
    if better.shape not in (counted.shape, counted.shape[:1]):
        raise ShapeError(
            f"grpo_loss: advantages must be {counted.shape[:1]} or {counted.shape} to match log_probs; "
            f"got {better.shape}"
        )
    if better.ndim == 1:
        better = better.unsqueeze(1).broadcast_to(counted.shape)
    objective = clipped_objective(log_probs, old_log_probs, better, counted, clip)
    if reference_log_probs is not None and beta:
        objective = objective - kl_estimate(log_probs, reference_log_probs, counted) * beta
    tokens = np.maximum(counted.sum(axis=1), 1).astype(objective.dtype)
    return -(objective.sum(axis=1) / tokens).mean()


def kl_estimate(log_probs: TensorLike, reference_log_probs: TensorLike, mask: ArrayLike | None = None) -> Tensor:
    """Per token, π_ref / π - ln(π_ref / π) - 1, which is at least 0; 0 where `mask` is False. Units: nats.

    Shapes: each (...) -> (...)
    Raises: ShapeError if the shapes differ
    """
    counted = mask_of("kl_estimate", mask, log_probs=log_probs, reference_log_probs=reference_log_probs)
    log_ratio = (as_tensor(reference_log_probs) - log_probs).masked_fill(~counted, 0.0)
    return log_ratio.exp() - log_ratio - 1.0


@dataclass(frozen=True)
class GRPO:
    """The loss that a `Trainer` asks for on batches of rollouts: `grpo_loss`."""

    clip: float = 0.2
    beta: float = 0.04

    def __call__(self, model: Any, batch: RolloutBatch) -> Tensor:
        log_probs, _ = token_log_probs(model, batch.ids, batch.mask)
        return grpo_loss(
            log_probs,
            batch.old_log_probs,
            batch.advantages,
            batch.mask,
            batch.reference_log_probs,
            self.clip,
            self.beta,
        )
