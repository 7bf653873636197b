"""Gated DeltaNet and gated attention: gradients, reading in parts, padding, and a model made of both that generates."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from layer_checks import assert_a_cache_changes_nothing, every_gradient_of, randn

from tinygrad_llm import Tensor, manual_seed, nn, no_grad
from tinygrad_llm.errors import ConfigError, GraphError
from tinygrad_llm.generate import generate
from tinygrad_llm.layers import GatedAttention, GatedDeltaNet
from tinygrad_llm.models import GPT, GPTConfig


def delta_net(**options: Any) -> Any:
    manual_seed(0)
    return GatedDeltaNet(8, 2, value_dim=3, chunk=4, **options).to(np.float64)


def gated() -> Any:
    manual_seed(0)
    return GatedAttention(8, 2, causal=True).to(np.float64)


def hybrid() -> GPT:
    """Three layers of Gated DeltaNet and one of gated attention, as in Qwen3-Next."""
    manual_seed(1)
    model = GPT(GPTConfig(20, 32, embedding_dim=16, num_heads=2, num_layers=4, dropout=0.0))
    for block in list(model.blocks)[:3]:
        block.attention = GatedDeltaNet(16, 2, chunk=4)
    model.blocks[3].attention = GatedAttention(16, 2, causal=True)
    return model.eval()


@pytest.mark.parametrize("layer", [delta_net, gated])
def test_every_gradient(layer: Any) -> None:
    assert every_gradient_of(layer(), randn(2, 6, 8))


def test_each_token_reads_only_those_before_it() -> None:
    layer, x = delta_net(), randn(1, 9, 8)
    before = layer(x).data
    x[:, 5:] += 1.0
    after = layer(x).data
    assert np.array_equal(before[:, :5], after[:, :5]) and not np.isclose(before[:, 5:], after[:, 5:]).all()


def test_chunks_change_nothing() -> None:
    x = randn(2, 11, 8)
    one = delta_net()
    one.chunk = 1
    np.testing.assert_allclose(delta_net()(x).data, one(x).data, atol=1e-12)


@settings(deadline=None, max_examples=20)
@given(cuts=st.lists(st.integers(0, 9), max_size=3), batch=st.integers(1, 2))
def test_reading_in_parts_through_a_cache_equals_reading_at_once(cuts: list[int], batch: int) -> None:
    assert_a_cache_changes_nothing(gated(), batch, cuts)
    layer, x = delta_net(), randn(batch, 9, 8)
    mask = np.ones((batch, 1, 1, 9), bool)
    mask[-1, ..., :2] = False
    with no_grad():
        whole, cache, parts = layer(x, mask=mask).data, layer.new_cache(), []
        for start, stop in zip([0, *sorted(cuts)], [*sorted(cuts), 9], strict=True):
            if stop > start:
                parts.append(layer(x[:, start:stop], mask=mask[..., :stop], cache=cache).data)
    np.testing.assert_allclose(np.concatenate(parts, axis=1), whole, atol=1e-12)
    assert cache.length == 9


def test_padding_on_the_left_changes_nothing() -> None:
    layer, x = delta_net(), randn(1, 7, 8)
    padded = np.concatenate([randn(1, 3, 8, seed=5), x], axis=1)
    mask = (np.arange(10) >= 3).reshape(1, 1, 1, 10)
    np.testing.assert_allclose(layer(padded, mask=mask).data[:, 3:], layer(x).data, atol=1e-12)


def test_the_cache_does_not_grow() -> None:
    layer, sizes = delta_net(), []
    cache = layer.new_cache()
    with no_grad():
        for _ in range(5):
            layer(randn(1, 40, 8), cache=cache)
            sizes.append(cache.nbytes)
    assert len(set(sizes)) == 1 and sizes[0] == 8 * (2 * 4 * 3 + 3 * 2 * (4 + 4 + 3))


def test_a_state_goes_back_to_the_beginning_only() -> None:
    layer, cache = delta_net(), delta_net().new_cache()
    with no_grad():
        layer(randn(2, 5, 8), cache=cache)
    cache.truncate(5)
    assert cache.length == 5
    cache.select(np.array([1]))
    assert cache.state is not None and len(cache.state) == 1
    cache.truncate(4)
    assert cache.length == 0 and cache.state is None
    with pytest.raises(ConfigError, match=r"can be cut to a length in 0..0, what it has read; got 1"):
        cache.truncate(1)


def test_a_model_of_both_generates_the_same_with_and_without_a_cache() -> None:
    model = hybrid()
    prompts = [np.array([3, 4, 5, 6]), np.array([7]), np.array([1, 2])]
    cached = generate(model, prompts, 20)
    for text, expected in zip(cached, generate(model, prompts, 20, use_cache=False), strict=True):
        assert text.tolist() == expected.tolist()
    alone = generate(model, np.array([7]), 20)  # greedy texts are drafted ahead, and the state goes back
    assert alone.tolist() == cached[1].tolist()
    assert hybrid().new_cache().layers[3].length == 0


def test_a_model_of_both_learns() -> None:
    model = hybrid().train()
    ids = np.arange(16)[None]
    from tinygrad_llm.optim import AdamW

    optimizer = AdamW(list(model.parameters()), lr=1e-2)
    losses = []
    for _ in range(30):
        loss = model.loss(ids[:, :-1], ids[:, 1:])
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        losses.append(loss.item())
    assert losses[-1] < 0.2 * losses[0]


def test_refusals() -> None:
    layer = delta_net()
    with pytest.raises(ConfigError, match=r"mask must be booleans \(B, 1, 1, S\), .*; got float64 \(3,\)"):
        layer(randn(1, 3, 8), mask=np.ones(3))
    with pytest.raises(GraphError, match="no gradient flows through a cache"):
        layer(Tensor(randn(1, 3, 8)), cache=layer.new_cache())
    with pytest.raises(ConfigError, match="conv_width"):
        GatedDeltaNet(8, 2, conv_width=0)
    assert "num_heads=2, head_dim=4, value_dim=3" in repr(layer)
    assert isinstance(nn.GatedDeltaNet(8, 2), GatedDeltaNet)
