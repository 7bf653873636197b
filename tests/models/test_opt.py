"""OPT: the parts that differ from a GPT, gradients, cache, generation, settings."""

import dataclasses
from typing import Any

import numpy as np
import pytest
from random_weights import with_random_weights
from tiny_gpt import greedy, next_logits, some_ids

from tinygrad_llm import Generator, composed_ops, gradcheck, manual_seed, nn, no_grad
from tinygrad_llm.errors import ConfigError, ShapeError
from tinygrad_llm.generate import generate
from tinygrad_llm.generate.decoding_state import DecodingState
from tinygrad_llm.models import OPT, OPTConfig
from tinygrad_llm.optim import AdamW

TINY = OPTConfig(vocab_size=13, context_length=12, embedding_dim=8, num_heads=2, num_layers=2, dropout=0.4)


def tiny(seed: int = 0, dtype: Any = np.float64, **changes: Any) -> Any:
    manual_seed(seed)
    return with_random_weights(OPT(dataclasses.replace(TINY, **changes)).to(dtype), 0.3)


def test_every_gradient_of_the_whole_model() -> None:
    model = tiny(dropout=0.0)
    ids, targets = some_ids(10).reshape(2, 5), some_ids(10, seed=2).reshape(2, 5)
    assert gradcheck(lambda: model.loss(ids, targets), parameters=dict(model.named_parameters()), elements=12).ok
    model.loss(ids, targets).backward()
    assert all(np.abs(parameter.grad).max() > 0 for parameter in model.parameters())


def test_fast_ops_compute_the_definitions() -> None:
    model, ids = tiny().eval(), some_ids(12).reshape(2, 6)
    with composed_ops():
        expected = model(ids).data
    np.testing.assert_allclose(model(ids).data, expected, rtol=1e-9, atol=1e-12)


def test_position_0_is_row_2_of_the_table() -> None:
    model, ids = tiny().eval(), some_ids(12)
    assert model.position_embedding.weight.shape == (14, 8)
    logits = model(ids).data
    model.position_embedding.weight.data[:2] = 100.0
    np.testing.assert_array_equal(model(ids).data, logits)
    rolled = np.roll(model.position_embedding.weight.data[2:], 1, axis=0)
    moved = model(ids[:5], positions=[11, 0, 1, 2, 3]).data
    model.position_embedding.weight.data[2:] = rolled
    np.testing.assert_array_equal(model(ids[:5]).data, moved)


def test_the_feed_forward_layers_use_relu_and_every_linear_layer_but_the_head_has_a_bias() -> None:
    model = tiny()
    assert all(type(block.feed_forward.activation) is nn.ReLU for block in model.blocks)
    without = [name for name, part in model.named_modules() if isinstance(part, nn.Linear) and part.bias is None]
    assert without == ["head"]
    assert all(block.norm_first for block in model.blocks)


def test_the_head_is_tied_unless_asked_otherwise() -> None:
    model, untied = tiny(), tiny(tie_weights=False)
    assert model.head.weight is model.token_embedding.weight
    assert untied.num_parameters() == model.num_parameters() + 13 * 8


def test_the_two_rates_of_dropout() -> None:
    (block, *_), model = tiny(attention_dropout=0.25).blocks, tiny(dropout=0.0)
    assert (block.dropout.p, block.attention.dropout.p) == (0.4, 0.25)
    ids = some_ids(12)
    assert np.array_equal(model(ids).data, model(ids).data)
    for changes in ({"dropout": 0.4}, {"dropout": 0.0, "attention_dropout": 0.4}):
        dropping = tiny(**changes)
        assert not np.array_equal(dropping(ids).data, dropping(ids).data)


def test_no_token_depends_on_a_later_one() -> None:
    model, ids = tiny().eval(), some_ids(12)
    changed = ids.copy()
    changed[7:] = (changed[7:] + 1) % 13
    np.testing.assert_allclose(model(ids).data[:7], model(changed).data[:7], rtol=0, atol=1e-12)


def test_the_cache_gives_the_logits_of_one_reading() -> None:
    model, ids = tiny().eval(), some_ids(24).reshape(2, 12)
    cache = model.new_cache()
    with no_grad():
        parts = [model(part, cache).data for part in np.split(ids, [5, 6, 9], axis=1)]
        np.testing.assert_allclose(np.concatenate(parts, axis=1), model(ids).data, rtol=0, atol=1e-12)
        with pytest.raises(ShapeError, match=r"OPT: ids must be .* 12 less the 12 cached"):
            model(ids[:, :1], cache)


def test_a_batch_of_unequal_texts_gives_the_logits_of_each_alone() -> None:
    model, texts = tiny(), [some_ids(length, seed=length) for length in (3, 7, 1)]
    state = DecodingState(model, texts)
    for row, text in zip(state.logits()[:, -1], texts, strict=True):
        np.testing.assert_allclose(row, next_logits(model, text), rtol=0, atol=1e-10)


def test_greedy_decoding_is_its_definition() -> None:
    model, prompt = tiny(), some_ids(4)
    expected = greedy(model, prompt, 12)
    assert generate(model, prompt, 12).tolist() == expected
    assert generate(model, prompt, 12, use_cache=False).tolist() == expected


def test_it_learns_a_rule() -> None:
    def rule(seed: int) -> Any:
        ids = (Generator(seed).randint(0, 13, (16, 1)) + 3 * np.arange(11)) % 13
        return ids[:, :-1], ids[:, 1:]

    manual_seed(0)
    model = OPT(dataclasses.replace(TINY, dropout=0.0))
    optimizer = AdamW(model.parameters(), 0.01)
    for step in range(150):
        optimizer.zero_grad()
        model.loss(*rule(step)).backward()
        optimizer.step()
    assert model.loss(*rule(999)).item() < 0.1


def test_parameter_counts() -> None:
    with nn.init.no_initial_values():
        assert OPT(OPTConfig()).num_parameters() == 125_239_296


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"embedding_dim": 9}, "multiple of num_heads"),
        ({"num_layers": 0}, "num_layers must be"),
        ({"dropout": 1.0}, "dropout must be a probability"),
        ({"attention_dropout": -0.1}, "attention_dropout must be a probability"),
        ({"tie_weights": "yes"}, "tie_weights must be true or false"),
        ({"feed_forward_dim": 0}, "feed_forward_dim must be"),
    ],
)
def test_invalid_settings_are_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        dataclasses.replace(TINY, **changes)
