"""Reward models: the pairwise loss, the text that is read, and what a model learns from pairs."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinygrad_llm import Tensor, manual_seed
from tinygrad_llm.data import DataLoader, PreferenceDataset, collate_preferences
from tinygrad_llm.errors import DataError, ShapeError
from tinygrad_llm.finetune import LearnedReward, RewardModel, evaluate_rewards, reward_loss, right_answers
from tinygrad_llm.finetune.reward import pair_rewards, reward_model_loss
from tinygrad_llm.models import GPT, GPTConfig
from tinygrad_llm.testing import check_gradient
from tinygrad_llm.text import BPETokenizer
from tinygrad_llm.train import Trainer, TrainingSettings

RECORDS = [
    {"instruction": f"say {word}", "input": "", "output": word, "chosen": word, "rejected": word[::-1]}
    for word in ("ab", "cd", "ef", "gh", "abc", "def", "efgh", "cdab")
]
TOKENIZER = BPETokenizer.train([f"say {record['output']} {record['rejected']}" for record in RECORDS], 300)
END = TOKENIZER.end_of_text


def reward_model() -> RewardModel:
    manual_seed(0)
    config = {"vocab_size": TOKENIZER.vocab_size, "context_length": 64, "embedding_dim": 32}
    return RewardModel(GPT(GPTConfig.from_dict({**config, "num_heads": 2, "num_layers": 1, "dropout": 0.0})))


def batches() -> list:
    dataset = PreferenceDataset(RECORDS, TOKENIZER, "phi3")
    return list(DataLoader(dataset, 4, collate_fn=lambda items: collate_preferences(items, END)))


@given(st.integers(0, 10_000))
def test_the_loss_by_its_definition(seed: int) -> None:
    chosen, rejected = np.random.RandomState(seed).normal(size=(2, 5)) * 30
    expected = np.mean([np.logaddexp(0, r - c) for c, r in zip(chosen, rejected, strict=True)])
    np.testing.assert_allclose(reward_loss(chosen, rejected).item(), expected, rtol=1e-12)
    check_gradient(reward_loss, chosen / 30, rejected / 30)


def test_equal_rewards_cost_ln_2() -> None:
    assert math.isclose(reward_loss(Tensor([3.0, -1.0]), Tensor([3.0, -1.0])).item(), math.log(2), rel_tol=1e-6)


def test_the_reward_is_that_of_the_text_whatever_its_padding() -> None:
    model = reward_model()
    model.body.head.weight.data[...] = np.random.RandomState(0).normal(size=model.body.head.weight.shape)
    (batch, _), reward = batches(), LearnedReward(model, TOKENIZER, "phi3", END)
    chosen, rejected = pair_rewards(model, batch)
    alone = reward(RECORDS[:4], [record["chosen"] for record in RECORDS[:4]])
    np.testing.assert_allclose(alone, chosen.data, rtol=1e-5)
    np.testing.assert_allclose(reward(RECORDS[:1], ["ba"]), rejected.data[:1], rtol=1e-5)


def test_it_learns_which_answer_was_chosen() -> None:
    model, pairs = reward_model(), batches()
    before = evaluate_rewards(model, pairs)
    assert before.count == 8 and before.margin == 0 and before.agreement == 0  # the head starts at 0
    loader = DataLoader(
        PreferenceDataset(RECORDS, TOKENIZER, "phi3"), 8, collate_fn=lambda x: collate_preferences(x, END)
    )
    settings = TrainingSettings(steps=40, learning_rate=3e-3, warmup_steps=0)
    Trainer(model, loader, settings, loss=reward_model_loss).train()
    after = evaluate_rewards(model, pairs)
    assert after.agreement == 1 and after.loss < 0.3 < before.loss and after.margin > 1


def test_a_long_text_is_cut_at_its_beginning() -> None:
    model = reward_model()
    model.body.head.weight.data[...] = np.random.RandomState(0).normal(size=model.body.head.weight.shape)
    reward = LearnedReward(model, TOKENIZER, "phi3", END)
    long = {"instruction": "x" * 200, "input": ""}
    assert reward([long], ["ab"]) != reward([long], ["cd"])


def test_a_right_answer_is_worth_one() -> None:
    checked = [{"kind": "copy", "output": "yes"}, {"kind": "copy", "output": "yes"}, {"output": "a b c d"}]
    assert right_answers(checked, ["yes", "no", "a b x y"]).tolist() == [1.0, 0.0, 0.5]


def test_refusals() -> None:
    with pytest.raises(ShapeError, match=r"RewardModel: ids must be \(B, T\); got \(3,\)"):
        reward_model()(np.zeros(3, int))
    with pytest.raises(DataError, match="evaluate_rewards: at least one batch is needed; got none"):
        evaluate_rewards(reward_model(), [])
