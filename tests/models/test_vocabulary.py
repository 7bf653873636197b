"""Resizing the vocabulary of a model."""

import dataclasses

import numpy as np
import pytest
from random_gpt import CONFIG, random_gpt
from random_weights import same

from tinygrad_llm import Generator, no_grad
from tinygrad_llm.errors import ConfigError
from tinygrad_llm.models import GPT
from tinygrad_llm.nn import Linear


@pytest.mark.parametrize("tie_weights", [True, False])
def test_new_tokens_get_rows_near_the_mean(tie_weights: bool) -> None:
    model = random_gpt(tie_weights=tie_weights)
    tables = {id(table): table for table in (model.token_embedding.weight, model.head.weight)}
    assert len(tables) == 2 - tie_weights
    before = {key: table.data.copy() for key, table in tables.items()}
    with no_grad():
        logits = model([[1, 2, 3]]).data
    model.resize_token_embeddings(265, Generator(1))
    assert model.config == dataclasses.replace(CONFIG, tie_weights=tie_weights, vocab_size=265)
    assert (model.head.weight is model.token_embedding.weight) == tie_weights
    for key, table in tables.items():
        old, new = before[key], table.data[262:]
        assert table.shape == (265, 6) and np.array_equal(table.data[:262], old)
        assert np.abs(new - old.mean(axis=0)).max() < 0.05 * old.std()
        assert len(np.unique(new[:, 0])) == 3
    with no_grad():
        longer = model([[1, 2, 3]]).data
    assert np.allclose(longer[..., :262], logits, rtol=0, atol=1e-5) and longer.shape == (1, 3, 265)
    assert model.token_embedding.num_embeddings == model.head.out_features == 265
    model.loss([[264, 1, 2]], [[1, 2, 263]]).backward()
    assert model.head.weight.grad.shape == (265, 6)
    model.resize_token_embeddings(266)
    assert model.head.weight.grad is None and model.token_embedding.weight.grad is None


def test_new_rows_are_seeded_and_fewer_rows_are_the_first() -> None:
    one, two = random_gpt(), random_gpt().to(np.float64)
    one.resize_token_embeddings(300, Generator(7))
    again = random_gpt()
    again.resize_token_embeddings(300, Generator(7))
    assert same(one, again)
    two.resize_token_embeddings(100)
    assert two.head.weight.dtype == np.float64
    assert np.array_equal(two.head.weight.data, random_gpt().head.weight.data[:100])
    assert GPT(two.config).head.weight.shape == (100, 6)


def test_resizing_needs_a_size_and_the_model_s_own_head() -> None:
    with pytest.raises(ConfigError, match="new_size"):
        random_gpt().resize_token_embeddings(0)
    classifier = random_gpt()
    classifier.head = Linear(6, 2)
    with pytest.raises(ConfigError, match="it was replaced"):
        classifier.resize_token_embeddings(300)
