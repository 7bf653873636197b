"""Reinforcement learning: rewards rise with PPO and GRPO; groups without a spread; exact positions of the loader."""

from collections.abc import Sequence
from itertools import islice
from typing import Any

import numpy as np
import pytest

from tinygrad_llm import manual_seed
from tinygrad_llm.errors import ConfigError, DataError
from tinygrad_llm.finetune import GRPO, PPO, RolloutLoader, RolloutSettings, add_value_head, frozen_copy
from tinygrad_llm.models import GPT, GPTConfig
from tinygrad_llm.random import Generator
from tinygrad_llm.text import BPETokenizer
from tinygrad_llm.train import Trainer, TrainingSettings

TOKENIZER = BPETokenizer.train("", vocab_size=257)
END = 256
RECORDS = [{"instruction": f"say {n}", "input": "", "output": ""} for n in range(5)]


def letters(records: Sequence[Any], answers: Sequence[str]) -> np.ndarray:
    """An answer is worth as much as it has small letters; a random byte is one with a probability of a tenth."""
    return np.array([float(sum("a" <= letter <= "z" for letter in answer)) for answer in answers])


def policy(method: str = "grpo") -> Any:
    manual_seed(0)
    model = GPT(GPTConfig(257, context_length=48, embedding_dim=16, num_heads=2, num_layers=1, dropout=0.0))
    return add_value_head(model) if method == "ppo" else model


def loader(model: Any, reward: Any = letters, batch_size: int = 32, **changes: Any) -> RolloutLoader:
    settings = {"questions": 4, "group_size": 8, "max_new_tokens": 8, "beta": 0.0, **changes}
    return RolloutLoader(
        model,
        frozen_copy(model),
        TOKENIZER,
        RECORDS,
        "phi3",
        [END],
        reward,
        RolloutSettings.from_dict(settings),
        batch_size,
        Generator(7),
    )


@pytest.mark.parametrize("method", ["ppo", "grpo"])
def test_answers_become_what_is_rewarded(method: str) -> None:
    model = policy(method)
    rollouts = loader(model, method=method)
    rewards: list[float] = []

    class Recorder:
        started = checkpoint_due = finished = lambda self, trainer: None

        def step_finished(self, trainer: Any, record: Any) -> None:
            rewards.append(rollouts.figures["reward"])

    loss = PPO() if method == "ppo" else GRPO(beta=0.0)
    settings = TrainingSettings(steps=40, learning_rate=1e-2, warmup_steps=0, weight_decay=0.0)
    Trainer(model, rollouts, settings, loss=loss, callbacks=[Recorder()]).train()
    assert np.mean(rewards[:3]) < 1.2 and np.mean(rewards[-3:]) > 2.4


def test_a_penalty_keeps_the_policy_near_the_reference() -> None:
    divergences = []
    for beta in (0.0, 1.0):
        model = policy()
        rollouts = loader(model, beta=beta)
        settings = TrainingSettings(steps=15, learning_rate=1e-2, warmup_steps=0, weight_decay=0.0)
        Trainer(model, rollouts, settings, loss=GRPO(beta=beta)).train()
        divergences.append(rollouts.figures["kl"])
    assert divergences[0] > 3 * abs(divergences[1])


def test_groups_without_a_spread_are_left_out_and_counted() -> None:
    def only_the_first_question(records: Sequence[Any], answers: Sequence[str]) -> np.ndarray:
        return np.array([len(answer) * (record is RECORDS[0]) for record, answer in zip(records, answers, strict=True)])

    rollouts = loader(policy(), only_the_first_question, questions=5)
    batch = next(iter(rollouts))
    assert len(batch.ids) == 8 and rollouts.figures["skipped_groups"] == 4 and rollouts.skipped_groups == 4
    with pytest.raises(
        DataError, match="must differ in reward for GRPO to learn; in 20 rounds of 4 questions none did"
    ):
        next(iter(loader(policy(), lambda records, answers: np.ones(len(answers)))))


def test_ppo_gives_the_score_to_the_last_token_and_the_penalty_to_each() -> None:
    model = policy("ppo")
    rollouts = loader(model, method="ppo", beta=0.1, lam=1.0, gamma=1.0, batch_size=32)
    for parameter in model.parameters():  # now it differs from the reference
        parameter.data *= 1.05
    batch = next(iter(rollouts))
    penalty = 0.1 * np.where(batch.mask, batch.old_log_probs - batch.reference_log_probs, 0).sum(axis=1)
    assert np.abs(penalty).max() > 1e-3
    first = np.take_along_axis(batch.returns, batch.mask.argmax(axis=1)[:, None], axis=1)[:, 0]
    answers = [
        TOKENIZER.decode(ids[1:][mask][: -1 if ids[1:][mask][-1] == END else None]).strip()
        for ids, mask in zip(batch.ids, batch.mask, strict=True)
    ]
    np.testing.assert_allclose(first, letters(RECORDS, answers) - penalty, rtol=1e-4, atol=1e-4)
    counted = batch.advantages[batch.mask]
    assert abs(counted.mean()) < 1e-5 and abs(counted.std() - 1) < 1e-3


def test_the_position_in_a_round_is_exact() -> None:
    whole, parts = (loader(policy(), batch_size=8, passes=2) for _ in range(2))
    expected, got = list(islice(whole, 20)), list(islice(parts, 3))
    state = parts.state()
    resumed = loader(policy(), batch_size=8, passes=2)
    resumed.set_state(state)
    got += islice(resumed, 17)
    for one, other in zip(expected, got, strict=True):
        for part, same in zip(one, other, strict=True):
            assert part.dtype == same.dtype and np.array_equal(part, same)


def test_refusals() -> None:
    with pytest.raises(DataError, match="RolloutLoader: at least one record is needed; got none"):
        RolloutLoader(policy(), None, TOKENIZER, [], "phi3", [END], letters, RolloutSettings(), 8, Generator(0))
    with pytest.raises(ConfigError, match="group_size must be at least 2 with GRPO"):
        RolloutSettings(group_size=1)
    with pytest.raises(ConfigError, match="questions times group_size must be at most 100,000 answers; got 16,000,000"):
        RolloutSettings(group_size=1_000_000)
    good = loader(policy()).state()
    for bad in ({}, {**good, "pending": [[3]]}, {**good, "round": [[1]]}, {**good, "generator": None}):
        with pytest.raises(ConfigError, match=r"RolloutLoader\.set_state|state"):
            loader(policy()).set_state(bad)
