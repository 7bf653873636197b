"""Attention against a loop over heads and queries, with each of its options."""

import contextlib
import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from layer_checks import assert_a_cache_changes_nothing, every_gradient_of, randn

from tinygrad_llm import Generator, Tensor, composed_ops, gradcheck, manual_seed, nn, no_grad
from tinygrad_llm.errors import ConfigError
from tinygrad_llm.nn import functional as F


def attention_by_hand(layer: Any, x: Any, memory: Any = None, causal: bool = False, visible: Any = None) -> Any:
    """One head, one query at a time, in NumPy alone."""
    memory = x if memory is None else memory
    q, k, v = (part(of).data for part, of in [(layer.query, x), (layer.key, memory), (layer.value, memory)])
    width, shared = layer.head_dim, layer.num_heads // layer.num_kv_heads
    out = np.zeros((*x.shape[:2], layer.num_heads * width), x.dtype)
    for b, t, h in np.ndindex(*x.shape[:2], layer.num_heads):
        mine, theirs = slice(h * width, (h + 1) * width), slice(h // shared * width, (h // shared + 1) * width)
        scores = k[b, :, theirs] @ q[b, t, mine] / math.sqrt(width)
        seen = np.ones(len(scores), bool) if visible is None else visible[b, t].copy()
        if causal:
            seen[t + 1 :] = False
        weights = np.exp(scores) * seen
        out[b, t, mine] = weights / weights.sum() @ v[b, :, theirs]
    return layer.output(out).data


def test_attention_draws_query_key_value_output_in_this_order() -> None:
    manual_seed(7)
    attention = nn.MultiHeadAttention(4, 2, qkv_bias=True)
    manual_seed(7)
    for name in ("query", "key", "value", "output"):
        layer, again = getattr(attention, name), nn.Linear(4, 4)
        np.testing.assert_array_equal(layer.weight.data, again.weight.data)
        np.testing.assert_array_equal(layer.bias.data, again.bias.data)


@pytest.mark.parametrize("num_kv_heads", [1, 2, 4])
@pytest.mark.parametrize("causal", [False, True])
def test_attention_equals_a_loop_over_heads_and_queries(num_kv_heads: int, causal: bool) -> None:
    manual_seed(5)
    layer = nn.MultiHeadAttention(8, 4, causal=causal, qkv_bias=True, num_kv_heads=num_kv_heads).to(np.float64)
    x = Generator(1).randn(2, 5, 8, dtype=np.float64)
    np.testing.assert_allclose(layer(x).data, attention_by_hand(layer, x, causal=causal), atol=1e-12)


def test_attention_to_a_memory_of_another_length_is_not_causal() -> None:
    manual_seed(5)
    layer = nn.MultiHeadAttention(8, 2, causal=True).to(np.float64)
    x, memory = Generator(1).randn(2, 3, 8, dtype=np.float64), Generator(2).randn(2, 7, 8, dtype=np.float64)
    np.testing.assert_allclose(layer(x, memory).data, attention_by_hand(layer, x, memory), atol=1e-12)


def test_the_mask_is_combined_with_the_causal_one() -> None:
    manual_seed(5)
    layer = nn.MultiHeadAttention(8, 2, causal=True).to(np.float64)
    x = Generator(1).randn(2, 4, 8, dtype=np.float64)
    visible = np.ones((2, 4, 4), bool)
    visible[:, :, 1] = False
    expected = attention_by_hand(layer, x, causal=True, visible=visible)
    np.testing.assert_allclose(layer(x, mask=visible[:, None]).data, expected, atol=1e-12)
    np.testing.assert_allclose(layer(x, mask=np.where(visible, 0.0, -1e30)[:, None]).data, expected, atol=1e-12)


def test_scale_and_softcap_are_those_of_the_op() -> None:
    manual_seed(5)
    layer = nn.MultiHeadAttention(8, 2, causal=True, scale=0.9, softcap=0.4).to(np.float64)
    x = Tensor(Generator(1).randn(2, 4, 8, dtype=np.float64))
    heads = [part(x).reshape(2, 4, 2, 4).transpose(1, 2) for part in (layer.query, layer.key, layer.value)]
    attended = F.scaled_dot_product_attention(*heads, is_causal=True, scale=0.9, softcap=0.4)
    expected = layer.output(attended.transpose(1, 2).reshape(2, 4, 8))
    np.testing.assert_allclose(layer(x).data, expected.data, rtol=1e-12)


def test_attention_gradients() -> None:
    manual_seed(5)
    layer = nn.MultiHeadAttention(4, 2, causal=True, qkv_bias=True, num_kv_heads=1, input_dim=3)
    x = Tensor(Generator(1).randn(2, 3, 3), requires_grad=True)
    gradcheck(layer, [x], parameters=dict(layer.named_parameters()))
    memory = Tensor(Generator(2).randn(2, 2, 3), requires_grad=True)
    gradcheck(layer, [x, memory], parameters=dict(layer.named_parameters()))


@pytest.mark.parametrize("nothing", [False, -np.inf])
def test_a_query_without_visible_keys_has_output_and_gradient_zero(nothing: Any) -> None:
    everything = True if nothing is False else 0.0
    mask = np.array([[everything, nothing], [nothing, nothing]])
    runs = []
    for mode in (contextlib.nullcontext, composed_ops):
        q, k, v = (Tensor(Generator(i).randn(1, 2, 3, dtype=np.float64), requires_grad=True) for i in range(3))
        with mode():
            out = F.scaled_dot_product_attention(q, k, v, attn_mask=mask)
            (out * out).sum().backward()
        assert not out.data[0, 1].any()
        assert not q.grad[0, 1].any()
        runs.append([out.data, q.grad, k.grad, v.grad])
    for fused, composed in zip(*runs, strict=True):
        assert np.isfinite(fused).all()
        np.testing.assert_allclose(fused, composed, atol=1e-12)


OPTIONS = {
    "rotary": {"rotary": nn.RotaryPositions(4, 10.0)},
    "window": {"window": 2},
    "head norm": {"head_norm": lambda: nn.RMSNorm(4)},
    "narrow heads": {"head_dim": 4, "output_bias": False},
    "all": {"rotary": nn.RotaryPositions(4, 10.0), "window": 3, "num_kv_heads": 1, "head_norm": lambda: nn.RMSNorm(4)},
}


def attention(**options: Any) -> Any:
    manual_seed(0)
    return nn.MultiHeadAttention(8 if "head_dim" not in options else 6, 2, causal=True, **options).to(np.float64)


@pytest.mark.parametrize("name", OPTIONS)
def test_every_gradient_of_attention(name: str) -> None:
    layer = attention(**OPTIONS[name])
    assert every_gradient_of(layer, randn(2, 5, layer.query.in_features))


@pytest.mark.parametrize("name", OPTIONS)
@settings(deadline=None, max_examples=20)
@given(cuts=st.lists(st.integers(0, 9), max_size=3), batch=st.integers(1, 2))
def test_reading_in_parts_through_a_cache_equals_reading_at_once(name: str, cuts: list[int], batch: int) -> None:
    assert_a_cache_changes_nothing(attention(**OPTIONS[name]), batch, cuts)


def test_positions_continue_where_the_cache_ends() -> None:
    layer, x = attention(**OPTIONS["rotary"]), randn(1, 6, 8)
    with no_grad():
        cache = nn.LayerCache(6)
        parts = [layer(x[:, :4], cache=cache).data, layer(x[:, 4:], cache=cache).data]
        np.testing.assert_allclose(np.concatenate(parts, axis=1), layer(x).data, atol=1e-12)
        assert not np.allclose(layer(x, positions=np.arange(6)[::-1]).data, layer(x).data)
        np.testing.assert_allclose(layer(x, positions=np.arange(50, 56)).data, layer(x).data, atol=1e-9)


def test_a_token_attends_to_its_window_and_nothing_else() -> None:
    layer, x = attention(window=3), randn(1, 8, 8)
    before = layer(x).data
    x[0, 2] += 1
    changed = np.abs(layer(x).data - before).max(axis=-1)[0] > 1e-9
    assert changed.tolist() == [False, False, True, True, True, False, False, False]


def test_head_norms_remove_the_scale_of_queries_and_keys() -> None:
    layer = attention(**OPTIONS["head norm"])
    before = layer(randn(1, 4, 8)).data
    layer.query.weight.data *= 7
    layer.key.weight.data *= 0.5
    np.testing.assert_allclose(layer(randn(1, 4, 8)).data, before, rtol=1e-3)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"rotary": nn.RotaryPositions(6)}, "heads of 4 features; got one for 6"),
        ({"window": 0}, "window must be an integer of at least 1"),
        ({"window": 2, "causal": False}, "causal must be True"),
        ({"head_dim": 0}, "head_dim must be"),
    ],
)
def test_invalid_options_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        nn.MultiHeadAttention(8, 2, **{"causal": True} | options)


def test_rotary_attention_refuses_a_memory() -> None:
    with pytest.raises(ConfigError, match="one sequence; got a memory"):
        attention(**OPTIONS["rotary"])(randn(1, 2, 8), memory=randn(1, 3, 8))


@pytest.mark.parametrize("kv_heads", [1, 2])
def test_fewer_heads_of_keys_need_less_cache(kv_heads: int) -> None:
    layer, cache = attention(num_kv_heads=kv_heads), nn.LayerCache(7)
    with no_grad():
        layer(randn(2, 7, 8), cache=cache)
    assert layer.cache_width == 2 * kv_heads * 4
    assert cache.nbytes == 2 * 7 * layer.cache_width * 8
    assert nn.KVCache(2, 7).nbytes == 0


def test_cache_bytes_of_the_book_s_estimators() -> None:
    with nn.init.no_initial_values():  # zeros that nobody touches cost no memory
        full = nn.MultiHeadAttention(4096, 32, causal=True)
        shared = nn.MultiHeadAttention(4096, 32, causal=True, num_kv_heads=8)
        latent = nn.MultiHeadLatentAttention(2048, 16, 1024)
    gigabytes = [2 * 32 * 32768 * layer.cache_width / 1e9 for layer in (full, shared)]
    assert [f"{size:.2f}" for size in gigabytes] == ["17.18", "4.29"]
    in_a_window = [2 * (27 * 1024 + 5 * 32768) * layer.cache_width / 1e9 for layer in (full, shared)]
    assert [f"{size:.2f}" for size in in_a_window] == ["3.14", "0.78"]
    assert f"{2 * 48 * 8192 * latent.cache_width / 1e9:.2f}" == "0.81"
