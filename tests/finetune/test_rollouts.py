"""Rollouts: which tokens an answer has, their log-probabilities and values; answers that end early."""

from typing import Any

import numpy as np
import pytest

from tinygrad_llm import manual_seed
from tinygrad_llm.errors import ConfigError, ShapeError
from tinygrad_llm.finetune import add_value_head, sample_rollouts, token_log_probs
from tinygrad_llm.finetune.rollouts import without_value_head
from tinygrad_llm.generate import generate
from tinygrad_llm.models import GPT, GPTConfig
from tinygrad_llm.ops import log_softmax
from tinygrad_llm.random import Generator

END = 0
QUESTIONS = [np.array([3, 4, 5]), np.array([6]), np.array([7, 8])]


def gpt(**changes: Any) -> GPT:
    manual_seed(1)
    config = {"vocab_size": 9, "context_length": 12, "embedding_dim": 16, "num_heads": 2, "num_layers": 2}
    return GPT(GPTConfig.from_dict({**config, "dropout": 0.0, **changes}))


def test_questions_answers_and_padding() -> None:
    rollouts = sample_rollouts(gpt(), QUESTIONS * 4, 6, [END], Generator(0))
    for row, (ids, mask, ended) in enumerate(zip(*rollouts, strict=True)):
        question = QUESTIONS[row % 3]
        assert ids[: len(question)].tolist() == question.tolist()
        answer = ids[1:][mask]
        assert mask.tolist() == [len(question) - 1 <= t < len(question) - 1 + len(answer) for t in range(len(mask))]
        assert (answer[:-1] != END).all() and (answer[-1] == END) == ended
        assert ended or len(answer) == 6
        assert (ids[len(question) + len(answer) :] == END).all()
    assert rollouts.ended.any() and not rollouts.ended.all()
    assert rollouts.lengths.tolist() == rollouts.mask.sum(axis=1).tolist()


def test_a_sampled_answer_is_that_of_generate() -> None:
    model = gpt()
    rollouts = sample_rollouts(model, QUESTIONS, 6, [END], Generator(5), temperature=0.7)
    texts = generate(model, QUESTIONS, 6, temperature=0.7, eos_id=END, generator=Generator(5))
    for ids, mask, ended, text, question in zip(*rollouts, texts, QUESTIONS, strict=True):
        assert ids[1:][mask].tolist() == [*text[len(question) :].tolist(), *[END] * int(ended)]


def test_an_answer_is_cut_off_where_it_fills_the_context() -> None:
    rollouts = sample_rollouts(gpt(), [np.full(11, 3), np.array([3])], 50, [END], Generator(0))
    assert rollouts.lengths[0] == 1 and rollouts.ids.shape[1] <= 12


def test_log_probabilities_by_their_definition() -> None:
    model = gpt().to(np.float64)
    ids, mask, _ = sample_rollouts(model, QUESTIONS, 6, [END], Generator(2))
    log_p = log_softmax(model(ids)).data
    expected = np.take_along_axis(log_p[:, :-1], ids[:, 1:, None], axis=-1)[..., 0] * mask
    log_probs, values = token_log_probs(model, ids, mask)
    np.testing.assert_allclose(log_probs.data, expected, rtol=1e-12)
    assert not values.data.any()


def test_dropout_does_not_touch_them() -> None:
    model = gpt(dropout=0.5)
    ids, mask, _ = sample_rollouts(model, QUESTIONS, 6, [END], Generator(2))
    first, second = (token_log_probs(model.train(), ids, mask)[0].data for _ in range(2))
    assert (first == second).all() and model.training


def test_values_come_from_a_head_that_starts_at_zero() -> None:
    model = gpt()
    names = set(model.state_dict())
    assert add_value_head(model) is model and set(without_value_head(model.state_dict())) == names
    ids, mask, _ = sample_rollouts(model, QUESTIONS, 6, [END], Generator(2))
    assert not token_log_probs(model, ids, mask, with_values=True)[1].data.any()
    model.value_head.bias.data[...] = 2.0
    log_probs, values = token_log_probs(model, ids, mask, with_values=True)
    assert (values.data == np.where(mask, 2.0, 0.0)).all()
    (log_probs.sum() + values.sum()).backward()
    assert model.value_head.weight.grad.any() and model.token_embedding.weight.grad.any()


def test_refusals() -> None:
    with pytest.raises(ShapeError, match="a question must be shorter than the context, 12 tokens; got 12"):
        sample_rollouts(gpt(), [np.zeros(12, int)], 5, [END], Generator(0))
    with pytest.raises(ConfigError, match="end_ids must name the token that ends an answer; got none"):
        sample_rollouts(gpt(), QUESTIONS, 5, [], Generator(0))
    with pytest.raises(ConfigError, match="max_new_tokens must be an integer of at least 1; got 0"):
        sample_rollouts(gpt(), QUESTIONS, 0, [END], Generator(0))
    with pytest.raises(ShapeError, match=r"ids must be \(B, T \+ 1\) and mask \(B, T\); got \(2, 3\) and \(2, 3\)"):
        token_log_probs(gpt(), np.zeros((2, 3), int), np.ones((2, 3)))
