"""Layers against the figures of "Build a Large Language Model (From Scratch)", built from a seed, and by hand."""

import contextlib
import itertools
import math

import numpy as np
import pytest

from tinygrad_llm import Generator, Tensor, composed_ops, default_generator, gradcheck, manual_seed, nn
from tinygrad_llm.errors import DTypeError, IdRangeError, ShapeError
from tinygrad_llm.nn import functional as F

WORDS = np.array(  # "Your journey starts with one step", chapter 3
    [
        [0.43, 0.15, 0.89],
        [0.55, 0.87, 0.66],
        [0.57, 0.85, 0.64],
        [0.22, 0.58, 0.33],
        [0.77, 0.25, 0.10],
        [0.05, 0.80, 0.55],
    ],
    np.float32,
)


def assert_prints(tensor, expected):
    """Equal to the four decimals that the book prints."""
    actual = tensor.data if isinstance(tensor, Tensor) else np.asarray(tensor)
    np.testing.assert_allclose(actual, expected, rtol=0, atol=6e-5)


# -- the book's figures


def test_embedding_of_chapter_2():
    manual_seed(123)
    layer = nn.Embedding(6, 3)
    assert_prints(layer.weight.data[0], [0.3374, -0.1778, -0.1690])
    assert_prints(layer([3]), [[-0.4015, 0.9666, -1.1481]])
    assert_prints(layer(Tensor([2, 3, 5, 1]))[2:], [[-2.8400, -0.7849, -1.4096], [0.9178, 1.5810, 1.3010]])


class CausalAttention(nn.Module):
    """The book's single head: three projections, no output projection."""

    def __init__(self, input_dim, output_dim):
        self.W_query = nn.Linear(input_dim, output_dim, bias=False)
        self.W_key = nn.Linear(input_dim, output_dim, bias=False)
        self.W_value = nn.Linear(input_dim, output_dim, bias=False)

    def forward(self, x, is_causal=True):
        query, key, value = self.W_query(x), self.W_key(x), self.W_value(x)
        return F.scaled_dot_product_attention(query, key, value, is_causal=is_causal)


FIRST_HEAD = [
    [-0.4519, 0.2216],
    [-0.5874, 0.0058],
    [-0.6300, -0.0632],
    [-0.5675, -0.0843],
    [-0.5526, -0.0981],
    [-0.5299, -0.1081],
]
SECOND_HEAD = [
    [0.4772, 0.1063],
    [0.5891, 0.3257],
    [0.6202, 0.3860],
    [0.5478, 0.3589],
    [0.5321, 0.3428],
    [0.5077, 0.3493],
]


def test_self_attention_of_chapter_3():
    manual_seed(789)
    layer = CausalAttention(3, 2)
    assert_prints(
        layer(WORDS, is_causal=False),
        [
            [-0.0739, 0.0713],
            [-0.0748, 0.0703],
            [-0.0749, 0.0702],
            [-0.0760, 0.0685],
            [-0.0763, 0.0679],
            [-0.0754, 0.0693],
        ],
    )


def test_causal_attention_of_chapter_3():
    manual_seed(123)
    assert_prints(CausalAttention(3, 2)(np.stack([WORDS, WORDS])), [FIRST_HEAD, FIRST_HEAD])


def test_two_heads_side_by_side_of_chapter_3():
    manual_seed(123)
    heads = nn.ModuleList(CausalAttention(3, 2) for _ in range(2))
    beside = np.concatenate([head(np.stack([WORDS, WORDS])).data for head in heads], axis=-1)
    assert_prints(beside[1], np.hstack([FIRST_HEAD, SECOND_HEAD]))


def test_multi_head_attention_of_chapter_3():
    manual_seed(123)
    layer = nn.MultiHeadAttention(embedding_dim=2, num_heads=2, input_dim=3, causal=True)
    expected = [
        [0.3190, 0.4858],
        [0.2943, 0.3897],
        [0.2856, 0.3593],
        [0.2693, 0.3873],
        [0.2639, 0.3928],
        [0.2575, 0.4028],
    ]
    assert_prints(layer(np.stack([WORDS, WORDS])), [expected, expected])
    assert_prints(layer(WORDS), expected)  # one sequence without a batch


def test_dropout_of_chapter_3():
    manual_seed(123)
    assert_prints(nn.Dropout(0.5)(np.ones((6, 6), np.float32))[0], [2, 2, 0, 2, 2, 0])


def test_layer_norm_demo_of_chapter_4():
    manual_seed(123)
    batch = default_generator().randn(2, 5)
    out = nn.Sequential(nn.Linear(5, 6), nn.ReLU())(batch)
    assert_prints(out, [[0.2260, 0.3470, 0, 0.2216, 0, 0], [0.2133, 0.2394, 0, 0.5198, 0.3297, 0]])
    assert_prints(out.mean(axis=-1, keepdims=True), [[0.1324], [0.2170]])
    assert_prints(out.var(axis=-1, keepdims=True), [[0.0231], [0.0398]])
    normalized = nn.LayerNorm(5)(batch)
    assert_prints(normalized.mean(axis=-1), [0, 0])
    assert_prints(normalized.var(axis=-1, unbiased=False), [1, 1])


class DeepNetwork(nn.Module):
    """Chapter 4's five GELU layers, with or without shortcuts around them."""

    def __init__(self, use_shortcut):
        widths = [3, 3, 3, 3, 3, 1]
        self.use_shortcut = use_shortcut
        self.layers = nn.ModuleList(
            nn.Sequential(nn.Linear(before, after), nn.GELU("tanh")) for before, after in itertools.pairwise(widths)
        )

    def forward(self, x):
        for layer in self.layers:
            y = layer(x)
            x = x + y if self.use_shortcut and x.shape == y.shape else y
        return x


@pytest.mark.parametrize(
    ("use_shortcut", "expected"),
    [
        (False, [0.000201735878, 0.000120111610, 0.000715204165, 0.00139887386, 0.00504964637]),
        (True, [0.221697927, 0.206941053, 0.328969955, 0.266573250, 1.32585418]),
    ],
)
def test_gradients_vanish_without_shortcuts_as_in_chapter_4(use_shortcut, expected):
    manual_seed(123)
    model = DeepNetwork(use_shortcut)
    error = model(Tensor([[1.0, 0.0, -1.0]])) - 0.0
    (error * error).mean().backward()
    means = [np.abs(p.grad).mean() for name, p in model.named_parameters() if name.endswith("weight")]
    np.testing.assert_allclose(means, expected, rtol=5e-6)


def test_classifier_of_appendix_a():
    manual_seed(123)
    model = nn.Sequential(nn.Linear(50, 30), nn.ReLU(), nn.Linear(30, 20), nn.ReLU(), nn.Linear(20, 3))
    assert model.num_parameters() == 2213
    manual_seed(123)
    logits = model(default_generator().rand(1, 50))
    assert_prints(logits, [[-0.1262, 0.1080, -0.1792]])
    assert_prints(F.softmax(logits), [[0.3113, 0.3934, 0.2952]])


# -- first values


def test_layers_draw_weight_then_bias_from_the_default_generator():
    manual_seed(7)
    layer = nn.Linear(4, 3)
    manual_seed(7)
    bound = 1 / math.sqrt(4)
    np.testing.assert_array_equal(layer.weight.data, default_generator().uniform(-bound, bound, (3, 4)))
    np.testing.assert_array_equal(layer.bias.data, default_generator().uniform(-bound, bound, (3,)))
    assert layer.weight.dtype == layer.bias.dtype == np.float32


def test_attention_draws_query_key_value_output_in_this_order():
    manual_seed(7)
    attention = nn.MultiHeadAttention(4, 2, qkv_bias=True)
    manual_seed(7)
    for name in ("query", "key", "value", "output"):
        layer, again = getattr(attention, name), nn.Linear(4, 4)
        np.testing.assert_array_equal(layer.weight.data, again.weight.data)
        np.testing.assert_array_equal(layer.bias.data, again.bias.data)


def test_norms_start_as_the_identity_on_normalized_rows():
    assert nn.LayerNorm(3).weight.data.tolist() == nn.RMSNorm(3).weight.data.tolist() == [1, 1, 1]
    assert nn.LayerNorm(3).bias.data.tolist() == [0, 0, 0]
    assert nn.LayerNorm(3, bias=False).bias is None


def test_without_initial_values_nothing_is_drawn():
    manual_seed(3)
    before = default_generator().state()
    with nn.init.no_initial_values():
        layers = [nn.Linear(3, 3), nn.Embedding(3, 3)]
    after = default_generator().state()
    assert all(np.array_equal(before[key], after[key]) for key in before)
    assert not any(p.data.any() for layer in layers for p in layer.parameters())
    assert nn.Linear(3, 3).weight.data.any()  # and afterwards it is


def test_values_are_drawn_again_after_an_error_inside():
    with pytest.raises(KeyError), nn.init.no_initial_values():
        raise KeyError
    assert nn.Linear(3, 3).weight.data.any()


# -- each layer is its op


def test_each_layer_is_its_op_with_its_own_weights():
    x = Generator(0).randn(2, 3, 4)
    linear, plain = nn.Linear(4, 5), nn.Linear(4, 5, bias=False)
    np.testing.assert_allclose(linear(x).data, x @ linear.weight.data.T + linear.bias.data, atol=1e-6)
    np.testing.assert_allclose(plain(x).data, x @ plain.weight.data.T, atol=1e-6)
    norm = nn.LayerNorm(4, eps=0.1)
    norm.weight.data[...], norm.bias.data[...] = [1, 2, 3, 4], [4, 3, 2, 1]
    by_hand = (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + 0.1)
    np.testing.assert_allclose(norm(x).data, by_hand * norm.weight.data + norm.bias.data, atol=1e-5)
    rms = nn.RMSNorm(4, eps=0.1)
    rms.weight.data[...] = [1, 2, 3, 4]
    by_hand = x / np.sqrt((x * x).mean(-1, keepdims=True) + 0.1)
    np.testing.assert_allclose(rms(x).data, by_hand * rms.weight.data, atol=1e-5)
    np.testing.assert_array_equal(nn.ReLU()(x).data, np.maximum(x, 0))
    np.testing.assert_allclose(nn.SiLU()(x).data, x / (1 + np.exp(-x)), atol=1e-6)
    by_hand = [0.5 * v * (1 + math.erf(v / math.sqrt(2))) for v in x.ravel().tolist()]
    np.testing.assert_allclose(nn.GELU()(x).data.ravel(), by_hand, atol=1e-6)
    by_hand = 0.5 * x * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))
    np.testing.assert_allclose(nn.GELU("tanh")(x).data, by_hand, atol=1e-6)


def test_feed_forward_widens_fourfold_and_takes_another_width_and_activation():
    layer = nn.FeedForward(6)
    assert layer.up.weight.shape == (24, 6)
    assert layer.down.weight.shape == (6, 24)
    assert layer.activation.approximate == "tanh"
    x = Generator(0).randn(2, 6)
    np.testing.assert_array_equal(layer(x).data, layer.down(F.gelu(layer.up(x), "tanh")).data)
    other = nn.FeedForward(6, hidden_dim=5, activation=nn.ReLU())
    assert other.up.weight.shape == (5, 6)
    np.testing.assert_array_equal(other(x).data, other.down(other.up(x).relu()).data)


def block_of_gpt(width=4, heads=2, hidden=None, dropout=0.0):
    """A block of GPT-2's parts."""
    attention = nn.MultiHeadAttention(width, heads, dropout, causal=True)
    return nn.TransformerBlock(attention, nn.FeedForward(width, hidden), lambda: nn.LayerNorm(width), dropout)


def test_block_adds_each_part_to_the_residual_stream():
    manual_seed(1)
    block = block_of_gpt(hidden=6)
    x = Tensor(Generator(0).randn(2, 3, 4))
    assert block.feed_forward.up.weight.shape == (6, 4)
    middle = x + block.attention(block.norm1(x))
    np.testing.assert_array_equal(block(x).data, (middle + block.feed_forward(block.norm2(middle))).data)
    for part in (block.attention.output, block.feed_forward.down):
        for parameter in part.parameters():
            parameter.data[...] = 0
    np.testing.assert_array_equal(block(x).data, x.data)  # nothing added: the stream passes unchanged


def test_block_drops_a_part_of_what_attention_and_of_what_feed_forward_adds():
    block, made, dropped = block_of_gpt(dropout=0.5), [], []
    block.attention.register_forward_hook(lambda module, args, output: made.append(output))
    block.feed_forward.register_forward_hook(lambda module, args, output: made.append(output))
    block.dropout.register_forward_hook(lambda module, args, output: dropped.append((args[0], output)))
    x = Tensor(Generator(0).randn(1, 3, 4))
    y = block(x)
    assert [id(read) for read, _ in dropped] == [id(output) for output in made]
    np.testing.assert_array_equal(y.data, ((x + dropped[0][1]) + dropped[1][1]).data)


def test_integers_come_in_as_float32():
    x = np.arange(6).reshape(2, 3)
    for layer in (nn.Linear(3, 2), nn.LayerNorm(3), nn.RMSNorm(3), nn.GELU(), nn.SiLU(), nn.MultiHeadAttention(3, 1)):
        assert layer(x).dtype == np.float32
        np.testing.assert_array_equal(layer(x).data, layer(x.astype(np.float32)).data)


# -- attention


def attention_by_hand(layer, x, memory=None, causal=False, visible=None):
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


@pytest.mark.parametrize("num_kv_heads", [1, 2, 4])
@pytest.mark.parametrize("causal", [False, True])
def test_attention_equals_a_loop_over_heads_and_queries(num_kv_heads, causal):
    manual_seed(5)
    layer = nn.MultiHeadAttention(8, 4, causal=causal, qkv_bias=True, num_kv_heads=num_kv_heads).to(np.float64)
    x = Generator(1).randn(2, 5, 8, dtype=np.float64)
    np.testing.assert_allclose(layer(x).data, attention_by_hand(layer, x, causal=causal), atol=1e-12)


def test_attention_to_a_memory_of_another_length_is_not_causal():
    manual_seed(5)
    layer = nn.MultiHeadAttention(8, 2, causal=True).to(np.float64)
    x, memory = Generator(1).randn(2, 3, 8, dtype=np.float64), Generator(2).randn(2, 7, 8, dtype=np.float64)
    np.testing.assert_allclose(layer(x, memory).data, attention_by_hand(layer, x, memory), atol=1e-12)


def test_attention_mask_joins_the_causal_one():
    manual_seed(5)
    layer = nn.MultiHeadAttention(8, 2, causal=True).to(np.float64)
    x = Generator(1).randn(2, 4, 8, dtype=np.float64)
    visible = np.ones((2, 4, 4), bool)
    visible[:, :, 1] = False
    expected = attention_by_hand(layer, x, causal=True, visible=visible)
    np.testing.assert_allclose(layer(x, mask=visible[:, None]).data, expected, atol=1e-12)
    np.testing.assert_allclose(layer(x, mask=np.where(visible, 0.0, -1e30)[:, None]).data, expected, atol=1e-12)


def test_attention_gradients():
    manual_seed(5)
    layer = nn.MultiHeadAttention(4, 2, causal=True, qkv_bias=True, num_kv_heads=1, input_dim=3)
    x = Tensor(Generator(1).randn(2, 3, 3), requires_grad=True)
    gradcheck(layer, [x], parameters=dict(layer.named_parameters()))
    memory = Tensor(Generator(2).randn(2, 2, 3), requires_grad=True)
    gradcheck(layer, [x, memory], parameters=dict(layer.named_parameters()))


def test_block_gradients():
    manual_seed(5)
    block = block_of_gpt()
    x = Tensor(Generator(1).randn(1, 3, 4), requires_grad=True)
    gradcheck(block, [x], parameters=dict(block.named_parameters()))


# -- dropout


def test_dropout_scales_what_it_keeps_and_is_off_in_evaluation():
    layer, x = nn.Dropout(0.25, Generator(0)), np.ones(10000, np.float32)
    y = layer(x).data
    assert set(np.unique(y)) == {np.float32(0), np.float32(1 / 0.75)}
    assert abs((y == 0).mean() - 0.25) < 0.02
    np.testing.assert_array_equal(layer.eval()(x).data, x)


def test_dropout_draws_from_its_own_generator_and_leaves_the_default_alone():
    model = nn.Sequential(nn.Dropout(0.5), block_of_gpt(dropout=0.5))
    nn.draw_dropout_from(model, Generator(9))
    x = np.ones((1, 3, 4), np.float32)
    before = manual_seed(1).state()
    first = model(x).data
    after = default_generator().state()
    assert all(np.array_equal(before[key], after[key]) for key in before)
    nn.draw_dropout_from(model, Generator(9))
    manual_seed(2)
    np.testing.assert_array_equal(model(x).data, first)
    assert not np.array_equal(model(x).data, first)


def test_dropout_without_a_generator_draws_from_the_default():
    layer, x = nn.Dropout(0.5), np.ones(64, np.float32)
    manual_seed(1)
    first = layer(x).data
    manual_seed(1)
    np.testing.assert_array_equal(layer(x).data, first)


# -- the cache


def test_layer_cache_appends_and_returns_all_so_far():
    cache, keys = nn.LayerCache(4), Generator(0).randn(2, 1, 4, 3)
    k, v = cache.extend(keys[..., :1, :], -keys[..., :1, :])
    assert cache.length == 1
    k, v = cache.extend(keys[..., 1:4, :], -keys[..., 1:4, :])
    np.testing.assert_array_equal(k, keys)
    np.testing.assert_array_equal(v, -keys)
    with pytest.raises(ShapeError, match="cache: must have room for 1 more tokens; 4 of its 4"):
        cache.extend(keys[..., :1, :], keys[..., :1, :])
    assert cache.length == 4


def test_layer_cache_refuses_another_batch():
    cache = nn.LayerCache(4)
    cache.extend(np.zeros((2, 1, 1, 3)), np.zeros((2, 1, 1, 3)))
    with pytest.raises(ShapeError, match=r"cache: \(B, G\) must stay \(2, 1\); got \(3, 1\)"):
        cache.extend(np.zeros((3, 1, 1, 3)), np.zeros((3, 1, 1, 3)))


# -- wrong input


def test_wrong_input_is_an_error_that_names_the_op():
    with pytest.raises(ShapeError, match=r"linear: weight must be \(2, 4\) to match x \(1, 4\); got \(2, 3\)"):
        nn.Linear(3, 2)(np.ones((1, 4), np.float32))
    with pytest.raises(IdRangeError, match=r"embedding: ids must be in \[0, 3\); got 3 at position \(0, 1\)"):
        nn.Embedding(3, 2)([[0, 3]])
    with pytest.raises(IdRangeError, match="got -1"):
        nn.Embedding(3, 2)([-1])
    with pytest.raises(DTypeError, match="embedding: ids must be integers; got float32"):
        nn.Embedding(3, 2)([0.5])
    with pytest.raises(ShapeError, match="rectangular"):
        nn.Embedding(3, 2)([[0, 1], [2]])
    with pytest.raises(ShapeError, match="layer_norm"):
        nn.LayerNorm(3)(np.ones((2, 4), np.float32))


@pytest.mark.parametrize("nothing", [False, -np.inf])
def test_a_query_that_may_see_no_key_gets_and_gives_nothing(nothing):
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
