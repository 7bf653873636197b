"""Direct preference optimization (DPO): learning from pairs of a chosen and a rejected answer.

    loss = -ln σ(β · [(ln π(chosen) - ln π_ref(chosen)) - (ln π(rejected) - ln π_ref(rejected))])

π is the model in training (the policy), π_ref the reference: a frozen copy from before the training. A larger β keeps π
closer to π_ref (Rafailov et al. 2023, arXiv:2305.18290).
"""

from __future__ import annotations

import copy
import math
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any, NamedTuple, TypeVar

import numpy as np
from numpy.typing import ArrayLike

from tinygrad_llm.arrays import Array
from tinygrad_llm.data.preferences import PreferenceBatch
from tinygrad_llm.errors import ConfigError, DataError, ShapeError
from tinygrad_llm.graph import TensorLike
from tinygrad_llm.nn import Module
from tinygrad_llm.ops import cross_entropy
from tinygrad_llm.primitives import stack
from tinygrad_llm.primitives.operands import as_tensor
from tinygrad_llm.tensor import Tensor
from tinygrad_llm.train import evaluating
from tinygrad_llm.train.parallel.mapping import map_in_workers

M = TypeVar("M", bound=Module)


def frozen_copy(model: M) -> M:
    """The reference: a copy of `model` without gradients, in evaluation mode."""
    reference = copy.deepcopy(model).requires_grad_(False).eval()
    reference.zero_grad()
    return reference


def sequence_log_probs(model: Any, ids: ArrayLike, mask: ArrayLike, average: bool = True) -> Tensor:
    """Per row, the mean or sum of ln p(token | all tokens before it) over the tokens where `mask` is True.

    Only the logits that predict these tokens are computed: (N, V) numbers for N such tokens instead of (B, T, V).

    Shapes: ids (B, T), mask (B, T) booleans -> (B,); the first token is never predicted and never counts
    Units:  nats, per token if `average`
    Raises: ShapeError if ids and mask are not both (B, T)
    """
    ids, mask = np.asarray(ids), np.asarray(mask, bool)
    if ids.ndim != 2 or mask.shape != ids.shape:
        raise ShapeError(f"sequence_log_probs: ids and mask must both be (B, T); got {ids.shape} and {mask.shape}")
    wanted = mask[:, 1:]
    surprise = cross_entropy(model.head(model.hidden(ids[:, :-1])[wanted]), ids[:, 1:][wanted], reduction="none")
    row_of_token = np.nonzero(wanted)[0]
    weights = np.zeros((len(ids), len(row_of_token)), surprise.dtype)
    weights[row_of_token, np.arange(len(row_of_token))] = -1
    if average:
        weights /= np.maximum(wanted.sum(axis=1, keepdims=True), 1)
    return Tensor(weights) @ surprise


def dpo_loss(
    policy_chosen: TensorLike,
    policy_rejected: TensorLike,
    reference_chosen: TensorLike,
    reference_rejected: TensorLike,
    beta: float = 0.1,
) -> Tensor:
    """The mean DPO loss of B pairs, from the log-probabilities of their answers (see the formula above).

    Shapes: each (B,) -> ()
    Units:  nats per pair
    Raises: ConfigError for a beta that is not a finite number above 0
    """
    _expect_beta(beta)
    chosen = as_tensor(policy_chosen) - reference_chosen
    rejected = as_tensor(policy_rejected) - reference_rejected
    preference = (chosen - rejected) * beta
    # -ln σ(z) = ln(e⁰ + e⁻ᶻ), which logsumexp computes without overflow.
    return stack([preference * 0, -preference], axis=-1).logsumexp(axis=-1).mean()


class DPOOutcome(NamedTuple):
    """The loss of a batch, and the reward ln π - ln π_ref of each answer, as in the book (the paper multiplies by β).

    Shapes: loss (), rewards (B,)
    Units:  nats
    """

    loss: Tensor
    chosen_rewards: Array
    rejected_rewards: Array


@dataclass(frozen=True)
class DPO:
    """The loss that a `Trainer` asks for on batches of preferences.

    `reference` is the model from before the training (see `frozen_copy`). `average` takes the mean log-probability per
    token, as in the book, so that long answers do not weigh more than short ones; the paper takes the sum.

    Raises: ConfigError for a beta that is not a finite number above 0
    """

    reference: Any
    beta: float = 0.1
    average: bool = True

    def __post_init__(self) -> None:
        _expect_beta(self.beta)

    def __call__(self, model: Any, batch: PreferenceBatch) -> Tensor:
        return self.outcome(model, batch).loss

    def outcome(self, model: Any, batch: PreferenceBatch) -> DPOOutcome:
        """Loss and rewards of a batch. Chosen and rejected answers are one batch of 2B rows for each model."""
        ids = np.concatenate([batch.chosen, batch.rejected])
        mask = np.concatenate([batch.chosen_mask, batch.rejected_mask])
        with evaluating(self.reference):
            reference = sequence_log_probs(self.reference, ids, mask, self.average)
        policy = sequence_log_probs(model, ids, mask, self.average)
        pairs = len(batch.chosen)
        loss = dpo_loss(policy[:pairs], policy[pairs:], reference[:pairs], reference[pairs:], self.beta)
        rewards = policy.data - reference.data
        return DPOOutcome(loss, rewards[:pairs], rewards[pairs:])


@dataclass(frozen=True)
class PreferenceReport:
    """Means over the pairs of one split. `accuracy` is the share of pairs whose chosen answer has the larger reward.

    Units: loss, rewards (see `DPOOutcome`) and margin in nats
    """

    count: int
    loss: float
    chosen_reward: float
    rejected_reward: float
    margin: float
    accuracy: float

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


def evaluate_preferences(
    model: Module, dpo: DPO, batches: Iterable[PreferenceBatch], workers: int | None = None
) -> PreferenceReport:
    """Loss, rewards and their margin on the pairs of one split.

    `workers` share the batches, as in `map_in_workers`. Raises: DataError if there are no batches
    """
    results = list(map_in_workers(partial(_judged, model, dpo), batches, model, workers))
    if not results:
        raise DataError("evaluate_preferences: at least one batch is needed; got none")
    losses, chosen, rejected = zip(*results, strict=True)
    of_chosen, of_rejected = np.concatenate(chosen), np.concatenate(rejected)
    margins = of_chosen - of_rejected
    return PreferenceReport(
        len(margins),
        sum(losses) / len(margins),
        float(of_chosen.mean()),
        float(of_rejected.mean()),
        float(margins.mean()),
        float((margins > 0).mean()),
    )


def _judged(model: Module, dpo: DPO, batch: PreferenceBatch) -> tuple[float, Array, Array]:
    """The summed loss of a batch, and the rewards of its chosen and rejected answers."""
    with evaluating(model):
        outcome = dpo.outcome(model, batch)
    return outcome.loss.item() * len(batch.chosen), outcome.chosen_rewards, outcome.rejected_rewards


def _expect_beta(beta: float) -> None:
    if not isinstance(beta, int | float) or not math.isfinite(beta) or beta <= 0:
        raise ConfigError(f"DPO: beta must be a finite number above 0; got {beta!r}")
