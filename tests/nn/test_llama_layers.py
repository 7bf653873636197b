"""The parts of the Llama family and of the book's variants: rotation, window, gate, latents, experts."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tinygrad_llm import Generator, Tensor, gradcheck, manual_seed, nn, no_grad
from tinygrad_llm.errors import ConfigError, GraphError, ShapeError
from tinygrad_llm.layers.mixture_of_experts import MixtureOfExperts
from tinygrad_llm.nn import functional as F
from tinygrad_llm.nn import within_window

SCALING = {"factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0, "original_context_length": 100}


def randn(*shape, seed=0):
    return Generator(seed).randn(*shape).astype(np.float64)


def every_gradient_of(layer, *inputs, **reading):
    layer.to(np.float64)
    tensors = [Tensor(x, requires_grad=True) for x in inputs]
    return gradcheck(lambda *x: layer(*x, **reading), tensors, parameters=dict(layer.named_parameters())).ok


# -- rotary positions


@given(pairs=st.integers(1, 4), first=st.integers(0, 50), second=st.integers(0, 50), shift=st.integers(0, 10_000))
def test_a_score_depends_only_on_how_far_apart_two_tokens_are(pairs, first, second, shift):
    rotary = nn.RotaryPositions(2 * pairs, base=100.0)
    query, key = Tensor(randn(1, 1, 2 * pairs)), Tensor(randn(1, 1, 2 * pairs, seed=1))

    def score(i, j):
        (q,), (k,) = rotary([i], query), rotary([j], key)
        return float((q * k).sum().data)

    assert math.isclose(score(first, second), score(first + shift, second + shift), rel_tol=1e-9, abs_tol=1e-9)


def test_rotation_is_multiplication_by_a_complex_number():
    frequencies = nn.rotary_frequencies(6, 50.0)
    np.testing.assert_allclose(frequencies, [1, 50 ** (-1 / 3), 50 ** (-2 / 3)])
    x = randn(2, 3, 5, 6)
    positions = np.array([[0, 1, 2, 7, 90], [4, 4, 0, 1, 2]])
    (y,) = nn.RotaryPositions(6, 50.0)(positions, Tensor(x))
    turned = (x[..., :3] + 1j * x[..., 3:]) * np.exp(1j * positions[:, None, :, None] * frequencies)
    np.testing.assert_allclose(y.data, np.concatenate([turned.real, turned.imag], axis=-1), atol=1e-12)


def test_scaling_slows_what_turns_slowly_and_keeps_what_turns_fast():
    plain, scaled = nn.rotary_frequencies(64, 1e6), nn.rotary_frequencies(64, 1e6, SCALING)
    turns = 100 * plain / (2 * math.pi)
    np.testing.assert_array_equal(scaled[turns > 4], plain[turns > 4])
    np.testing.assert_allclose(scaled[turns < 1], plain[turns < 1] / 8)
    between = (turns >= 1) & (turns <= 4)
    assert between.any() and np.all(np.diff(scaled) < 0)
    share = (turns[between] - 1) / 3
    np.testing.assert_allclose(scaled[between], share * plain[between] + (1 - share) * plain[between] / 8)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((3,), "head_dim must be even"),
        ((0,), "head_dim must be an integer of at least 1"),
        ((4, 0.0), "base must be a finite number above 0"),
        ((4, math.inf), "base must be"),
        ((4, 10.0, {"factor": 2.0}), "scaling must have factor, low_freq_factor"),
        ((4, 10.0, SCALING | {"factor": 0}), "numbers above 0"),
        ((4, 10.0, SCALING | {"low_freq_factor": 4.0}), "low_freq_factor below high_freq_factor"),
        ((4, 10.0, SCALING | {"factor": "8"}), "numbers above 0"),
    ],
)
def test_frequencies_that_cannot_be(arguments, message):
    with pytest.raises(ConfigError, match=message):
        nn.rotary_frequencies(*arguments)


def test_an_op_for_pairs_refuses_what_has_none():
    with pytest.raises(ShapeError, match="even D"):
        F.rotate(np.ones((2, 3)), np.ones(1), np.ones(1))
    with pytest.raises(ShapeError, match="must broadcast to"):
        F.rotate(np.ones((2, 4)), np.ones((5, 2)), np.ones((5, 2)))


# -- attention


OPTIONS = {
    "rotary": {"rotary": nn.RotaryPositions(4, 10.0)},
    "window": {"window": 2},
    "head norm": {"head_norm": lambda: nn.RMSNorm(4)},
    "narrow heads": {"head_dim": 4, "output_bias": False},
    "all": {"rotary": nn.RotaryPositions(4, 10.0), "window": 3, "num_kv_heads": 1, "head_norm": lambda: nn.RMSNorm(4)},
}


def attention(**options):
    manual_seed(0)
    return nn.MultiHeadAttention(8 if "head_dim" not in options else 6, 2, causal=True, **options).to(np.float64)


@pytest.mark.parametrize("name", OPTIONS)
def test_every_gradient_of_attention(name):
    layer = attention(**OPTIONS[name])
    assert every_gradient_of(layer, randn(2, 5, layer.query.in_features))


@pytest.mark.parametrize("name", [*OPTIONS, "latent", "latent and rotary"])
@settings(deadline=None, max_examples=20)
@given(cuts=st.lists(st.integers(0, 9), max_size=3), batch=st.integers(1, 2))
def test_read_through_a_cache_is_read_at_once(name, cuts, batch):
    layer = {**ATTENTIONS, **{n: (lambda n=n: attention(**OPTIONS[n])) for n in OPTIONS}}[name]()
    x = randn(batch, 9, layer.query.in_features)
    mask = np.ones((batch, 1, 1, 9), bool)
    mask[-1, ..., :2] = False  # the last text has padding on its left
    positions = np.maximum(np.arange(9) - np.array([0] * (batch - 1) + [2])[:, None], 0)
    with no_grad():
        whole = layer(x, mask=mask, positions=positions).data
        cache, parts = nn.LayerCache(9), []
        for start, stop in zip([0, *sorted(cuts)], [*sorted(cuts), 9], strict=True):
            if stop > start:
                reading = {"mask": mask[..., :stop], "positions": positions[:, start:stop]}
                parts.append(layer(x[:, start:stop], cache=cache, **reading).data)
    np.testing.assert_allclose(np.concatenate(parts, axis=1), whole, atol=1e-12)


def test_positions_go_on_where_the_cache_ends():
    layer, x = attention(**OPTIONS["rotary"]), randn(1, 6, 8)
    with no_grad():
        cache = nn.LayerCache(6)
        parts = [layer(x[:, :4], cache=cache).data, layer(x[:, 4:], cache=cache).data]
        np.testing.assert_allclose(np.concatenate(parts, axis=1), layer(x).data, atol=1e-12)
        assert not np.allclose(layer(x, positions=np.arange(6)[::-1]).data, layer(x).data)
        np.testing.assert_allclose(layer(x, positions=np.arange(50, 56)).data, layer(x).data, atol=1e-9)


@given(window=st.integers(1, 7), keys=st.integers(1, 7), data=st.data())
def test_a_window_shows_a_token_itself_and_those_just_before(window, keys, data):
    queries = data.draw(st.integers(1, keys))
    seen = within_window(window, queries, keys)
    seen = np.ones((queries, keys), bool) if seen is None else seen
    for i in range(queries):
        at = keys - queries + i
        for j in range(at + 1):
            assert seen[i, j] == (at - j < window)
    padded = np.arange(keys) > 0
    joined = within_window(window, queries, keys, padded)
    np.testing.assert_array_equal(np.broadcast_to(joined, (queries, keys)), seen & padded)
    added = within_window(window, queries, keys, np.full(keys, 0.5))
    added = added.data if isinstance(added, Tensor) else added
    np.testing.assert_array_equal(np.broadcast_to(added, (queries, keys)), np.where(seen, 0.5, -np.inf))


def test_nothing_outside_the_window_is_seen_and_all_inside_is():
    layer, x = attention(window=3), randn(1, 8, 8)
    before = layer(x).data
    x[0, 2] += 1
    changed = np.abs(layer(x).data - before).max(axis=-1)[0] > 1e-9
    assert changed.tolist() == [False, False, True, True, True, False, False, False]


def test_head_norms_make_every_query_and_key_as_long():
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
def test_attention_that_cannot_be(options, message):
    with pytest.raises(ConfigError, match=message):
        nn.MultiHeadAttention(8, 2, **{"causal": True} | options)


def test_rotary_attention_has_no_memory():
    with pytest.raises(ConfigError, match="one sequence; got a memory"):
        attention(**OPTIONS["rotary"])(randn(1, 2, 8), memory=randn(1, 3, 8))


@pytest.mark.parametrize("kv_heads", [1, 2])
def test_fewer_heads_of_keys_need_less_cache(kv_heads):
    layer, cache = attention(num_kv_heads=kv_heads), nn.LayerCache(7)
    with no_grad():
        layer(randn(2, 7, 8), cache=cache)
    assert layer.cache_width == 2 * kv_heads * 4
    assert cache.nbytes == 2 * 7 * layer.cache_width * 8
    assert nn.KVCache(2, 7).nbytes == 0


# The figures that the book's bonus material prints for its estimators of memory (chapter 4, folders 04 to 07).


def test_cache_bytes_of_the_book_s_estimators():
    with nn.init.no_initial_values():  # zeros that nobody touches cost no memory
        full = nn.MultiHeadAttention(4096, 32, causal=True)
        shared = nn.MultiHeadAttention(4096, 32, causal=True, num_kv_heads=8)
        latent = nn.MultiHeadLatentAttention(2048, 16, 1024)
    gigabytes = [2 * 32 * 32768 * layer.cache_width / 1e9 for layer in (full, shared)]
    assert [f"{size:.2f}" for size in gigabytes] == ["17.18", "4.29"]
    in_a_window = [2 * (27 * 1024 + 5 * 32768) * layer.cache_width / 1e9 for layer in (full, shared)]
    assert [f"{size:.2f}" for size in in_a_window] == ["3.14", "0.78"]
    assert f"{2 * 48 * 8192 * latent.cache_width / 1e9:.2f}" == "0.81"


def test_parameters_of_the_book_s_estimator_of_experts():
    def expert():
        return nn.FeedForward(7168, 1792, nn.SiLU(), bias=False, gated=True)

    with nn.init.no_initial_values():
        dense = nn.FeedForward(7168, 14336, nn.SiLU(), bias=False, gated=True)
        sparse = MixtureOfExperts(7168, 8, 2, expert)
        assert dense.num_parameters() == 308_281_344
        assert sparse.experts[0].num_parameters() == 38_535_168
        assert sparse.router.num_parameters() == 57_344
        assert sparse.num_parameters() == 308_338_688
        assert sparse.num_active_parameters() == 77_127_680


# -- latent attention


def latent(rotary=None):
    manual_seed(0)
    return nn.MultiHeadLatentAttention(8, 2, 3, rotary=rotary).to(np.float64)


ATTENTIONS = {"latent": latent, "latent and rotary": lambda: latent(nn.RotaryPositions(2, 10.0))}


@pytest.mark.parametrize("name", ATTENTIONS)
def test_every_gradient_of_latent_attention(name):
    assert every_gradient_of(ATTENTIONS[name](), randn(2, 5, 8))


def test_latent_attention_is_attention_over_keys_that_unfold_from_latents():
    layer, x = ATTENTIONS["latent and rotary"](), randn(1, 5, 8)
    weight = {name: p.data for name, p in layer.named_parameters()}
    compressed = x @ weight["compress.weight"].T
    latents = compressed[..., :3] / np.sqrt((compressed[..., :3] ** 2).mean(-1, keepdims=True) + 1e-6)
    angles = np.arange(5)[:, None]  # one pair of features, which turns by 1 per token

    def turned(pair):
        (a, b), cos, sin = np.split(pair, 2, axis=-1), np.cos(angles), np.sin(angles)
        return np.concatenate([a * cos - b * sin, b * cos + a * sin], axis=-1)

    heads = []
    for head in range(2):
        query = (x @ weight["query.weight"].T)[..., 6 * head : 6 * head + 6]
        rows = slice(4 * head, 4 * head + 4)
        query = np.concatenate([query[..., :4], turned(query[..., 4:])], axis=-1)
        key = np.concatenate([latents @ weight["key.weight"][rows].T, turned(compressed[..., 3:])], axis=-1)
        scores = query @ key.swapaxes(-1, -2) / math.sqrt(6)
        scores[..., np.triu(np.ones((5, 5), bool), 1)] = -np.inf
        share = np.exp(scores) / np.exp(scores).sum(-1, keepdims=True)
        heads.append(share @ (latents @ weight["value.weight"][rows].T))
    expected = np.concatenate(heads, axis=-1) @ weight["output.weight"].T
    np.testing.assert_allclose(layer(x).data, expected, atol=1e-12)


def test_only_latents_and_the_shared_key_are_cached():
    layer, cache = ATTENTIONS["latent and rotary"](), nn.LayerCache(7)
    with no_grad():
        layer(randn(2, 7, 8), cache=cache)
    assert layer.cache_width == 3 + 2
    assert cache.nbytes == 2 * 7 * (3 + 2) * 8  # sequences, tokens, numbers, bytes
    with pytest.raises(GraphError, match="no gradient flows"):
        layer(randn(2, 1, 8), cache=nn.LayerCache(7))


# -- feed-forward and norm


def test_a_gate_multiplies_what_passes():
    manual_seed(0)
    layer = nn.FeedForward(4, 6, nn.SiLU(), bias=False, gated=True).to(np.float64)
    x = randn(3, 4)
    gate, up = x @ layer.gate.weight.data.T, x @ layer.up.weight.data.T
    expected = (gate / (1 + np.exp(-gate)) * up) @ layer.down.weight.data.T
    np.testing.assert_allclose(layer(x).data, expected, atol=1e-12)
    assert [name for name, _ in layer.named_parameters()] == ["gate.weight", "up.weight", "down.weight"]
    assert every_gradient_of(layer, randn(2, 3, 4))


def test_gated_and_plain_have_about_as_many_parameters():
    assert nn.FeedForward(768, bias=False).num_parameters() == 8 * 768**2
    assert nn.FeedForward(768, bias=False, gated=True).num_parameters() == 8 * 768**2
    assert nn.FeedForward(5, gated=True).up.out_features == 16


def test_a_scale_around_one():
    plain, around = nn.RMSNorm(3).to(np.float64), nn.RMSNorm(3, around_one=True).to(np.float64)
    x = randn(2, 3)
    np.testing.assert_array_equal(plain(x).data, around(x).data)
    plain.weight.data[...], around.weight.data[...] = [2, 1, 0.5], [1, 0, -0.5]
    np.testing.assert_array_equal(plain(x).data, around(x).data)
    assert every_gradient_of(around, x)


# -- mixture of experts


def experts(count=4, used=2, **options):
    manual_seed(0)
    return MixtureOfExperts(3, count, used, lambda: nn.FeedForward(3, 5, nn.SiLU(), gated=True), **options).to(
        np.float64
    )


@settings(deadline=None)
@given(count=st.integers(1, 5), data=st.data(), tokens=st.integers(0, 6))
def test_every_token_is_the_mixture_of_its_experts(count, data, tokens):
    used = data.draw(st.integers(1, count))
    layer, x = experts(count, used), randn(2, tokens, 3)
    y = layer(x).data
    assert y.shape == x.shape
    for token, got in zip(x.reshape(-1, 3), y.reshape(-1, 3), strict=True):
        scores = np.exp(layer.router.weight.data @ token)
        p = scores / scores.sum()
        best = np.argsort(-p)[:used]
        gates = p[best] / (p[best].sum() if used > 1 else 1)
        expected = sum(gate * layer.experts[int(e)](token).data for gate, e in zip(gates, best, strict=True))
        np.testing.assert_allclose(got, expected, atol=1e-12)


@pytest.mark.parametrize("used", [1, 2, 4])
def test_every_gradient_of_experts_and_through_the_router(used):
    layer, x = experts(used=used), randn(2, 3, 3)
    assert every_gradient_of(layer, x)
    layer(Tensor(x)).sum().backward()
    assert np.abs(layer.router.weight.grad).max() > 1e-4


def test_every_gradient_of_the_balance():
    layer, x = experts(balance=3.0), Tensor(randn(7, 3), requires_grad=True)

    def balance(x):
        layer(x)
        return layer.balance_loss()

    assert gradcheck(balance, [x], parameters={"router": layer.router.weight}).ok


def test_balance_is_least_where_experts_are_used_evenly():
    layer = experts(balance=0.5)
    with pytest.raises(GraphError, match="a forward in training mode first"):
        layer.balance_loss()
    layer.router.weight.data[...] = 0
    layer(Tensor(randn(8, 3)))
    assert math.isclose(float(layer.balance_loss().data), 0.5 * 2)  # all are as likely: whoever is chosen
    with pytest.raises(GraphError):
        layer.balance_loss()
    layer.router.weight.data[:2] = 50  # two experts take everything
    layer(Tensor(np.abs(randn(8, 3))))
    assert math.isclose(float(layer.balance_loss().data), 0.5 * 4, rel_tol=1e-6)
    layer.eval()(Tensor(randn(8, 3)))
    with pytest.raises(GraphError):
        layer.balance_loss()


def test_experts_that_cannot_be():
    with pytest.raises(ConfigError, match="at most num_experts, 4; got 5"):
        experts(used=5)
    with pytest.raises(ConfigError, match="num_experts must be"):
        experts(0, 1)
