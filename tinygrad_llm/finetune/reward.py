"""Rewards: a model learned from comparisons of answers, and answers that can be checked.

    loss = -ln σ(reward(chosen) - reward(rejected))

The pairwise loss of Bradley and Terry 1952, as Ouyang et al. 2022 (arXiv:2203.02155) train a reward model with it. Only
differences of rewards matter, so the rewards of a model have no fixed zero.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any, Protocol

import numpy as np

from tinygrad_llm.arrays import Array
from tinygrad_llm.data.instructions import PromptForm, Record, prompt_form
from tinygrad_llm.data.padding import pad_right
from tinygrad_llm.data.preferences import PreferenceBatch
from tinygrad_llm.errors import DataError
from tinygrad_llm.finetune.instructions import Answer
from tinygrad_llm.functions import logsigmoid
from tinygrad_llm.graph import TensorLike
from tinygrad_llm.models import RewardModel
from tinygrad_llm.primitives.operands import as_tensor
from tinygrad_llm.tensor import Tensor
from tinygrad_llm.text import Tokenizer
from tinygrad_llm.train import evaluating
from tinygrad_llm.train.parallel.mapping import map_in_workers


def reward_loss(chosen: TensorLike, rejected: TensorLike) -> Tensor:
    """-ln σ(chosen - rejected), averaged over the pairs; ln 2 where the rewards are equal.

    Shapes: each (B,) -> ()
    Units:  nats per pair
    """
    return -logsigmoid(as_tensor(chosen) - rejected).mean()


def reward_model_loss(model: RewardModel, batch: PreferenceBatch) -> Tensor:
    """The loss of a `Trainer` on batches of preferences: `reward_loss` of the two texts' rewards."""
    chosen, rejected = pair_rewards(model, batch)
    return reward_loss(chosen, rejected)


def pair_rewards(model: RewardModel, batch: PreferenceBatch) -> tuple[Tensor, Tensor]:
    """The rewards of both texts of each pair, read as one batch. Shapes: -> (B,), (B,)"""
    ids = np.concatenate([batch.chosen, batch.rejected])
    rewards = model(ids, _ends(np.concatenate([batch.chosen_mask, batch.rejected_mask])))
    return rewards[: len(batch.chosen)], rewards[len(batch.chosen) :]


def _ends(mask: Array) -> Array:
    """The number of tokens up to the last one of the answer, and one more: the end-of-text token after it."""
    width = mask.shape[1]
    return np.minimum(width - mask[:, ::-1].argmax(axis=1) + 1, width)


@dataclass(frozen=True)
class RewardReport:
    """Means over the pairs of one split; `agreement` is the share of pairs whose chosen answer has the larger reward.

    Units: loss in nats per pair
    """

    count: int
    loss: float
    margin: float
    agreement: float

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


def evaluate_rewards(
    model: RewardModel, batches: Iterable[PreferenceBatch], workers: int | None = None
) -> RewardReport:
    """Loss, margin and agreement on the pairs of one split.

    `workers` share the batches, as in `map_in_workers`. Raises: DataError if there are no batches
    """
    parts = list(map_in_workers(partial(_margins, model), batches, model, workers))
    if not parts:
        raise DataError("evaluate_rewards: at least one batch is needed; got none")
    margins = np.concatenate(parts)
    loss = float(np.logaddexp(0, -margins).mean())
    return RewardReport(len(margins), loss, float(margins.mean()), float((margins > 0).mean()))


def _margins(model: RewardModel, batch: PreferenceBatch) -> Array:
    """By how much the reward of each chosen answer exceeds that of the rejected one, in float64."""
    with evaluating(model):
        chosen, rejected = pair_rewards(model, batch)
    margins: Array = chosen.data.astype(np.float64) - rejected.data
    return margins


class Reward(Protocol):
    """What reinforcement learning asks for: one number for each answer. Shapes: B records, B answers -> (B,)"""

    def __call__(self, records: Sequence[Record], answers: Sequence[str], /) -> Array: ...


def right_answers(records: Sequence[Record], answers: Sequence[str]) -> Array:
    """A reward that can be checked: 1 for the record's output, 0 for any other answer; token F1 for records whose
    answer has no single right wording (see `Answer.score`).

    Shapes: B records, B answers -> (B,)
    """
    return np.array([Answer(record, answer).score for record, answer in zip(records, answers, strict=True)])


@dataclass(frozen=True)
class LearnedReward:
    """The reward of a reward model for an answer to a record, written in the prompt style it was trained with.

    Texts longer than the context are cut at their beginning, so that the end of the answer is read.
    Shapes: B records, B answers -> (B,)
    """

    model: RewardModel
    tokenizer: Tokenizer
    style: str | PromptForm
    end_id: int
    batch_size: int = 64

    def __call__(self, records: Sequence[Record], answers: Sequence[str]) -> Array:
        form, context = prompt_form(self.style), self.model.body.config.context_length
        rows = [
            [*form.answered_ids(self.tokenizer, record, answer).ids, self.end_id][-context:]
            for record, answer in zip(records, answers, strict=True)
        ]
        rewards = []
        with evaluating(self.model):
            for start in range(0, len(rows), self.batch_size):
                part = rows[start : start + self.batch_size]
                lengths = np.array([len(row) for row in part])
                rewards.append(self.model(pad_right(part, int(lengths.max()), self.end_id), lengths).data)
        return np.concatenate(rewards).astype(np.float64)
