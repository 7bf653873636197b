"""Reinforcement learning of a language model: rounds of rollouts, their rewards, and the batches made of them.

    1  ask        draw questions; the policy samples answers to each, all decoded as one batch
    2  reward     one number for each answer
    3  compare    log-probabilities of the policy and of the frozen reference, advantages
    4  train      a few passes over the answers in small batches, by the Trainer and its loss (PPO or GRPO)

Then the next round, with the new policy. `RolloutLoader` does 1 to 3 as the loader of a `Trainer`, so such a training
has the loop, the log, the checkpoints and the exact resume of every other.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import numpy as np

from tinygrad_llm.arrays import Array
from tinygrad_llm.data.instructions import PromptForm, Record, prompt_form
from tinygrad_llm.errors import ConfigError, DataError
from tinygrad_llm.finetune.grpo import GRPO, group_advantages
from tinygrad_llm.finetune.instructions import respond
from tinygrad_llm.finetune.ppo import PPO, generalised_advantages
from tinygrad_llm.finetune.reward import Reward
from tinygrad_llm.finetune.rollouts import GroupedRolloutBatch, RolloutBatch, Rollouts, sample_rollouts, token_log_probs
from tinygrad_llm.random import Generator
from tinygrad_llm.settings import Settings, setting
from tinygrad_llm.tensor import Tensor
from tinygrad_llm.text import Tokenizer
from tinygrad_llm.train import evaluating

Method = Literal["ppo", "grpo"]
METHODS: tuple[Method, ...] = ("ppo", "grpo")
NOTHING = RolloutBatch(*(np.zeros((0, 0)) for _ in RolloutBatch._fields))
MOST_ANSWERS = 100_000  # of a round: they are decoded as one batch
ROUNDS_WITHOUT_SPREAD = 20  # in a row; then every question is answered always right or always wrong


@dataclass(frozen=True)
class RolloutSettings(Settings):
    """How rollouts are made and compared."""

    method: Method = setting(
        "grpo", "how advantages are computed: by PPO's value function, or in GRPO's groups", choices=METHODS
    )
    questions: int = setting(16, "questions per round", least=1)
    group_size: int = setting(8, "answers to each question of a round; GRPO compares them with each other", least=1)
    passes: int = setting(1, "passes over the answers of a round", least=1)
    temperature: float = setting(1.0, "temperature at which answers are sampled", above=0)
    max_new_tokens: int = setting(32, "maximum length of an answer, in tokens", least=1)
    beta: float = setting(0.04, "weight of the KL penalty that keeps the policy near its start; 0: none", least=0)
    gamma: float = setting(1.0, "PPO: discount of later rewards", least=0, most=1)
    lam: float = setting(0.95, "PPO: lambda of the generalised advantages", least=0, most=1)
    clip: float = setting(0.2, "clipping of the probability ratio to 1 - X .. 1 + X", above=0, below=1)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.questions * self.group_size > MOST_ANSWERS:
            answers = f"{self.questions * self.group_size:,}"
            raise self.refusal(f"{{questions}} times {{group_size}} must be at most {MOST_ANSWERS:,} answers", answers)
        if self.method == "grpo" and self.group_size < 2:
            raise self.refusal(
                "{group_size} must be at least 2 with GRPO, which compares answers", str(self.group_size)
            )


class RolloutLoader:
    """Batches of a policy's own answers, without end; see above. Each of `end_ids` ends an answer.

    After each round `figures` has its means: reward, KL (nats per answer), answer length (tokens), share of answers
    that ended; and with GRPO the number of groups that were skipped since all their rewards were equal.

    Raises: DataError if no question of many rounds in a row has answers of different rewards (GRPO)
    """

    def __init__(
        self,
        policy: Any,
        reference: Any,
        tokenizer: Tokenizer,
        records: Sequence[Record],
        style: str | PromptForm,
        end_ids: Collection[int],
        reward: Reward,
        settings: RolloutSettings,
        batch_size: int,
        generator: Generator,
    ) -> None:
        if not records:
            raise DataError("RolloutLoader: at least one record is needed; got none")
        self.policy, self.reference, self.tokenizer, self.records = policy, reference, tokenizer, records
        self.end_ids, self.reward, self.settings, self.batch_size = end_ids, reward, settings, batch_size
        self.generator = generator
        self.figures: dict[str, float] = {}
        self.skipped_groups = 0  # since the start of the run
        form = prompt_form(style)
        self._questions = [np.array(form.question_ids(tokenizer, record)) for record in records]
        self._round = NOTHING
        self._pending: list[list[int]] = []  # rows of the round, one list for each batch to come

    def __iter__(self) -> Iterator[RolloutBatch]:
        while True:
            if not self._pending:
                self._begin_round()
            rows = self._pending.pop(0)
            kind = RolloutBatch if self.settings.method == "ppo" else GroupedRolloutBatch
            yield kind(*(part[rows] for part in self._round))

    def _begin_round(self) -> None:
        for _ in range(ROUNDS_WITHOUT_SPREAD):
            rollouts, scores = self._ask()
            batch, kept = self._compare(rollouts, scores)
            if len(kept):
                self._round = RolloutBatch(*(part[kept] for part in batch))
                self._pending = self._shuffled(len(kept))
                return
        raise DataError(
            f"the answers to a question must differ in reward for GRPO to learn; in {ROUNDS_WITHOUT_SPREAD} rounds of "
            f"{self.settings.questions} questions none did: raise --temperature or --group-size, or give other records"
        )

    def _ask(self) -> tuple[Rollouts, Array]:
        """Rollouts of a new round, the answers to one question next to each other, and their rewards."""
        s = self.settings
        places = self.generator.randperm(len(self.records))[: s.questions].repeat(s.group_size)
        rollouts = sample_rollouts(
            self.policy,
            [self._questions[place] for place in places],
            s.max_new_tokens,
            self.end_ids,
            self.generator,
            s.temperature,
            self.tokenizer.vocab_size,
        )
        ids, mask = rollouts.ids[:, 1:], rollouts.mask
        answers = [
            self.tokenizer.decode(row[wanted][: -1 if ended else None]).strip()
            for row, wanted, ended in zip(ids, mask, rollouts.ended, strict=True)
        ]
        return rollouts, np.asarray(self.reward([self.records[int(place)] for place in places], answers), np.float64)

    def _compare(self, rollouts: Rollouts, scores: Array) -> tuple[RolloutBatch, Array]:
        """The round as one batch, and the rows that teach something."""
        s, (ids, mask, ended) = self.settings, rollouts
        of_ppo = s.method == "ppo"
        with evaluating(self.policy):
            old, values = (x.data for x in token_log_probs(self.policy, ids, mask, with_values=of_ppo))
        with evaluating(self.reference):
            reference = token_log_probs(self.reference, ids, mask)[0].data
        log_ratio, returns = old - reference, np.zeros_like(old)
        groups, skipped = scores.reshape(-1, s.group_size), np.zeros(0, bool)
        if of_ppo:
            rewards = -s.beta * log_ratio
            rewards[np.arange(len(ids)), mask.shape[1] - 1 - mask[:, ::-1].argmax(axis=1)] += scores
            advantages, returns = generalised_advantages(rewards, values, mask, s.gamma, s.lam)
            advantages = np.where(mask, _standardized(advantages, mask), 0.0)
            kept = np.arange(len(ids))
        else:
            advantages = np.where(mask, group_advantages(groups).reshape(-1, 1), 0.0)
            skipped = groups.max(axis=1) == groups.min(axis=1)
            kept = np.flatnonzero(~skipped.repeat(s.group_size))
            self.skipped_groups += int(skipped.sum())
        self.figures = {
            "reward": float(scores.mean()),
            "kl": float(log_ratio.sum(axis=1).mean()),
            "answer_length": float(rollouts.lengths.mean()),
            "ended": float(ended.mean()),
            **({} if of_ppo else {"skipped_groups": int(skipped.sum())}),
        }
        dtype = old.dtype
        return RolloutBatch(ids, mask, old, reference, advantages.astype(dtype), values, returns.astype(dtype)), kept

    def _shuffled(self, count: int) -> list[list[int]]:
        """Rows of the round in a new order for each pass, cut into batches."""
        orders = [self.generator.randperm(count).tolist() for _ in range(self.settings.passes)]
        size = self.batch_size
        return [order[start : start + size] for order in orders for start in range(0, count, size)]

    # -- exact resume: the round in hand is part of the position, for an older policy sampled it

    def state(self) -> dict[str, Any]:
        """The position: the random stream, the round in hand and its batches to come."""
        held = list(self._round) if self._pending else None
        return {
            "generator": self.generator.state(),
            "round": held,
            "pending": self._pending,
            "figures": self.figures,
            "skipped_groups": self.skipped_groups,
        }

    def set_state(self, state: Mapping[str, Any]) -> None:
        """Continue from where `state()` was taken. Raises: ConfigError for a value that is not a state"""
        dtype = self.policy.token_embedding.weight.dtype
        types = (np.int64, bool, dtype, dtype, dtype, dtype, dtype)
        try:
            held = state["round"]
            parts = NOTHING if held is None else map(np.array, held, types)
            batch = RolloutBatch(*parts)
            rows, columns = batch.mask.shape
            if held is not None and (
                batch.ids.shape != (rows, columns + 1) or {part.shape for part in batch[1:]} != {batch.mask.shape}
            ):
                raise ValueError("the arrays of a round have different shapes")
            pending = [[int(row) for row in one] for one in state["pending"]]
            if any(not 0 <= row < rows for one in pending for row in one):
                raise ValueError("a batch names a row that is not there")
            self.skipped_groups, self.figures = int(state["skipped_groups"]), dict(state["figures"])
            self.generator.set_state(state["generator"])
        except (KeyError, TypeError, ValueError, IndexError) as error:
            if isinstance(error, ConfigError):
                raise
            raise ConfigError(f"RolloutLoader.set_state: needs what state() gave; {error!r}") from error
        self._round, self._pending = batch, pending


def _standardized(advantages: Array, mask: Array) -> Array:
    """Advantages with mean 0 and standard deviation 1 over the tokens of all answers, as PPO is usually trained."""
    counted = advantages[mask]
    return (advantages - counted.mean()) / (counted.std() + 1e-8)


class HeldOutQuestions(NamedTuple):
    """A batch of records for the evaluation during a training: the policy answers them greedily."""

    records: Sequence[Record]

    @property
    def num_targets(self) -> int:
        return len(self.records)


@dataclass
class ReinforcementLoss:
    """The loss of a `Trainer` on rollouts; on held-out questions, minus the mean reward of greedy answers.

    It passes the figures of the loader's latest round on to the log.
    """

    loss: PPO | GRPO
    loader: RolloutLoader
    answer: Callable[[Sequence[Record]], list[str]]

    @property
    def unit(self) -> str:
        """What the loss is a mean of, for the speed that is shown."""
        return "tok" if isinstance(self.loss, PPO) else "answers"

    def __call__(self, model: Any, batch: RolloutBatch | HeldOutQuestions) -> Tensor:
        if isinstance(batch, HeldOutQuestions):
            return Tensor(np.array(-self.loader.reward(batch.records, self.answer(batch.records)).mean()))
        return self.loss(model, batch)

    def log_figures(self) -> dict[str, float]:
        """Of the latest round, for the log."""
        return self.loader.figures

    def training_figure(self) -> str:
        """Reward and KL of the latest round, in words."""
        figures = self.loader.figures
        return f"reward {figures['reward']:.3f}, KL {figures['kl']:.3f}" if figures else ""


def greedy_answers(
    model: Any, tokenizer: Tokenizer, style: str | PromptForm, max_new_tokens: int, end_ids: Collection[int]
) -> Callable[[Sequence[Record]], list[str]]:
    """A function from records to the model's greedy answers (see `respond`)."""
    return lambda records: respond(model, tokenizer, list(records), style, max_new_tokens, end_ids)
