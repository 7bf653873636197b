"""GPT: sizes, settings, causality, cache, loss, and learning."""

import dataclasses
import gc
import math
import tracemalloc
import weakref
from typing import Any

import numpy as np
import pytest

from tinygrad_llm import Generator, Tensor, composed_ops, default_generator, gradcheck, manual_seed, nn, no_grad
from tinygrad_llm.errors import ConfigError, DTypeError, GraphError, IdRangeError, ShapeError
from tinygrad_llm.generate import generate
from tinygrad_llm.models import GPT, GPTConfig
from tinygrad_llm.nn import functional as F
from tinygrad_llm.optim import AdamW

TINY = GPTConfig(vocab_size=13, context_length=10, embedding_dim=8, num_heads=2, num_layers=2, dropout=0.0)


def tiny(init: str = "book", seed: int = 0, **changes: Any) -> Any:
    manual_seed(seed)
    return GPT(dataclasses.replace(TINY, **changes), init=init)


def some_ids(*shape: int, seed: int = 1, vocab_size: Any = TINY.vocab_size) -> Any:
    return Generator(seed).randint(0, vocab_size, shape)


# -- windows


def test_windows_by_layer_equal_the_definition_with_masks() -> None:
    """Layer by layer, the windowed model is the plain one whose attention gets the mask of its window."""
    windowed = tiny(num_layers=3, window=3, window_pattern="2:1").to(np.float64).eval()
    assert [block.attention.window for block in windowed.blocks] == [3, 3, None]
    ids = some_ids(10)
    distance = np.arange(10)[:, None] - np.arange(10)
    x = windowed._embed(ids[None], np.arange(10))
    plain = tiny(num_layers=3).to(np.float64).eval()
    plain.load_state_dict(windowed.state_dict())
    for block, mask in zip(plain.blocks, (distance < 3, distance < 3, None), strict=True):
        x = block(x, mask=mask)
    np.testing.assert_allclose(windowed(ids).data, plain.head(plain.final_norm(x)).data[0], rtol=0, atol=1e-13)
    assert np.abs(windowed(ids).data - plain(ids).data).max() > 1e-3


def test_windows_save_the_memory_of_the_cache_and_change_no_text() -> None:
    model = GPT(GPTConfig(13, 200, 8, 2, 3, window=4, window_pattern="2:1")).to(np.float64).eval()
    caches = [model.new_cache(), GPT(GPTConfig(13, 200, 8, 2, 3)).new_cache()]
    with no_grad():
        for cache in caches:
            model.hidden(some_ids(60)[None], cache)
    per_token = 2 * 8 * 8
    assert [cache.nbytes // per_token for cache in caches] == [200 + 2 * (3 + 16 + 8), 3 * 200]
    texts = [generate(model, some_ids(5), 60, use_cache=use_cache).tolist() for use_cache in (True, False)]
    assert texts[0] == texts[1]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"window": 0}, "window must be an integer of at least 1; got 0"),
        ({"window_pattern": "1:1"}, "window_pattern needs window; got 1:1 without it"),
        ({"window": 2, "window_pattern": "5:1"}, "window_pattern must fit into num_layers; got 6 layers and 2"),
        (
            {"window": 2, "window_pattern": "0:1"},
            "window_pattern must be two numbers of layers, such as 5:1; got '0:1'",
        ),
        ({"window": 2, "window_pattern": "1"}, "window_pattern must be two numbers of layers"),
    ],
)
def test_windows_that_do_not_fit(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        GPTConfig(num_layers=2, **changes)


# -- sizes

GPT2_COUNTS = [
    ("gpt2-small", 163_009_536, 124_412_160, 621.83),
    pytest.param("gpt2-medium", 406_212_608, 354_749_440, 1549.58, marks=pytest.mark.slow),
    pytest.param("gpt2-large", 838_220_800, 773_891_840, 3197.56, marks=pytest.mark.slow),
    pytest.param("gpt2-xl", 1_637_792_000, 1_557_380_800, 6247.68, marks=pytest.mark.slow),
]


@pytest.mark.parametrize(("name", "untied", "tied", "megabytes"), GPT2_COUNTS)
def test_parameter_counts_of_gpt2(name: str, untied: Any, tied: bool, megabytes: Any) -> None:
    with nn.init.no_initial_values():  # zeros that nobody touches cost no memory
        model = GPT(GPTConfig.preset(name))
        assert model.num_parameters() == untied
        assert round(sum(p.data.nbytes for p in model.parameters()) / 2**20, 2) == megabytes
        assert GPT(GPTConfig.preset(name, tie_weights=True)).num_parameters() == tied


def test_parameter_counts_of_a_block() -> None:
    with nn.init.no_initial_values():
        block = GPT(GPTConfig.preset("gpt2-small", num_layers=1)).blocks[0]
        biased = GPT(GPTConfig.preset("gpt2-small", num_layers=1, qkv_bias=True)).blocks[0]
    assert block.feed_forward.num_parameters() == 4_722_432
    assert block.attention.num_parameters() == 2_360_064
    assert block.num_parameters() == 4_722_432 + 2_360_064 + 4 * 768
    assert biased.num_parameters() == block.num_parameters() + 3 * 768


def test_order_of_parameters_is_the_book_s_order_of_construction() -> None:
    names = [name for name, _ in tiny(num_layers=1, qkv_bias=True).named_parameters()]
    assert names == [
        "token_embedding.weight",
        "position_embedding.weight",
        "blocks.0.attention.query.weight",
        "blocks.0.attention.query.bias",
        "blocks.0.attention.key.weight",
        "blocks.0.attention.key.bias",
        "blocks.0.attention.value.weight",
        "blocks.0.attention.value.bias",
        "blocks.0.attention.output.weight",
        "blocks.0.attention.output.bias",
        "blocks.0.feed_forward.up.weight",
        "blocks.0.feed_forward.up.bias",
        "blocks.0.feed_forward.down.weight",
        "blocks.0.feed_forward.down.bias",
        "blocks.0.norm1.weight",
        "blocks.0.norm1.bias",
        "blocks.0.norm2.weight",
        "blocks.0.norm2.bias",
        "final_norm.weight",
        "final_norm.bias",
        "head.weight",
    ]


@pytest.mark.slow
def test_seeded_gpt2_small_prints_the_book_s_logits_and_tokens() -> None:
    manual_seed(123)
    model = GPT(GPTConfig.preset("gpt2-small"))
    with no_grad():
        logits = model([[6109, 3626, 6100, 345], [6109, 1110, 6622, 257]]).data  # dropout is on, as in chapter 4
        edges = logits[..., [0, 1, 2, -3, -2, -1]]
        expected = [
            [
                [0.3613, 0.4222, -0.0711, 0.3483, 0.4661, -0.2838],
                [-0.1792, -0.5660, -0.9485, 0.0477, 0.5181, -0.3168],
                [0.7120, 0.0332, 0.1085, 0.1018, -0.4327, -0.2553],
                [-1.0076, 0.3418, -0.1190, 0.7195, 0.4023, 0.0532],
            ],
            [
                [-0.2564, 0.0900, 0.0335, 0.2659, 0.4454, -0.6806],
                [0.1230, 0.3653, -0.2074, 0.7705, 0.2710, 0.2246],
                [1.0558, 1.0318, -0.2800, 0.6936, 0.3205, -0.3178],
                [-0.1565, 0.3926, 0.3288, 1.2630, -0.1858, 0.0388],
            ],
        ]
        np.testing.assert_allclose(edges, expected, rtol=0, atol=6e-5)
        ids = [15496, 11, 314, 716]  # "Hello, I am"
        model.eval()
        while len(ids) < 10:
            ids.append(int(model(ids).data[-1].argmax()))
    assert ids[4:] == [27018, 24086, 47843, 30961, 42348, 7267]


# -- settings


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"vocab_size": 0}, "vocab_size must be an integer of at least 1; got 0"),
        ({"context_length": -1}, "context_length must be an integer of at least 1; got -1"),
        ({"num_layers": 1.0}, "num_layers must be an integer of at least 1; got 1.0"),
        ({"num_heads": True}, "num_heads must be an integer of at least 1; got True"),
        ({"embedding_dim": "8"}, "embedding_dim must be an integer of at least 1; got '8'"),
        ({"embedding_dim": 10, "num_heads": 4}, "embedding_dim must be a multiple of num_heads; got 10 and 4"),
        ({"dropout": 1.0}, r"dropout must be a probability in \[0, 1\); got 1.0"),
        ({"dropout": -0.1}, r"dropout must be a probability in \[0, 1\); got -0.1"),
        ({"dropout": math.nan}, r"dropout must be a probability in \[0, 1\); got nan"),
        ({"dropout": None}, r"dropout must be a probability in \[0, 1\); got None"),
        ({"qkv_bias": 1}, "qkv_bias must be true or false; got 1"),
        ({"tie_weights": "no"}, "tie_weights must be true or false; got 'no'"),
    ],
)
def test_each_bad_setting_is_named(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match="GPTConfig: " + message):
        dataclasses.replace(TINY, **changes)


def test_presets_are_gpt2_sizes_and_small_ones_and_take_changes() -> None:
    assert GPTConfig() == GPTConfig.preset("gpt2-small")
    xl = GPTConfig.preset("gpt2-xl")
    assert (xl.embedding_dim, xl.num_layers, xl.num_heads) == (1600, 48, 25)
    assert (xl.vocab_size, xl.context_length, xl.dropout) == (50257, 1024, 0.1)
    assert not xl.qkv_bias
    assert not xl.tie_weights
    changed = GPTConfig.preset("nano", vocab_size=7, tie_weights=True)
    assert (changed.vocab_size, changed.tie_weights, changed.embedding_dim) == (7, True, 128)


def test_unknown_preset_and_setting_list_the_known_ones() -> None:
    with pytest.raises(ConfigError, match=r"known names are gpt2-small, gpt2-medium, .*nano.*; got 'gpt5'"):
        GPTConfig.preset("gpt5")
    with pytest.raises(ConfigError, match=r"known settings are vocab_size, .*window_pattern; got n_head"):
        GPTConfig.preset("nano", n_head=2)
    with pytest.raises(ConfigError, match="embedding_dim must be a multiple of num_heads; got 128 and 3"):
        GPTConfig.preset("nano", num_heads=3)


def test_config_survives_a_dictionary_and_cannot_be_changed() -> None:
    config = GPTConfig.preset("mini", dropout=0.25, qkv_bias=True)
    assert GPTConfig.from_dict(config.to_dict()) == config
    with pytest.raises(dataclasses.FrozenInstanceError):
        config.dropout = 0.5


def test_numpy_integers_become_python_s() -> None:
    sizes = GPTConfig(vocab_size=np.int64(7), num_heads=np.uint8(4)).to_dict()
    assert type(sizes["vocab_size"]) is type(sizes["num_heads"]) is int  # what a JSON file can hold


def test_unknown_init() -> None:
    with pytest.raises(ConfigError, match='init must be "book" or "gpt2"; got \'xavier\''):
        GPT(TINY, init="xavier")


# -- first values


def test_a_seed_gives_one_model() -> None:
    for init in ("book", "gpt2"):
        one, same, other = tiny(init, seed=3), tiny(init, seed=3), tiny(init, seed=4)
        for (name, a), b, c in zip(one.named_parameters(), same.parameters(), other.parameters(), strict=True):
            np.testing.assert_array_equal(a.data, b.data)
            if "norm" not in name and not (init == "gpt2" and name.endswith("bias")):
                assert not np.array_equal(a.data, c.data), name


def test_book_init_is_that_of_the_layers() -> None:
    model = tiny(vocab_size=500, embedding_dim=64, context_length=200)
    assert abs(model.token_embedding.weight.data.std() - 1) < 0.02
    assert abs(model.position_embedding.weight.data.std() - 1) < 0.02
    for name, p in model.named_parameters():
        if "attention" in name or "feed_forward" in name or "head" in name:
            bound = 1 / math.sqrt(256 if "down" in name else 64)
            assert np.abs(p.data).max() <= bound, name
            if p.size > 1000:
                assert abs(p.data.std() - bound / math.sqrt(3)) < 0.02 * bound, name


@pytest.mark.parametrize("tie_weights", [False, True])
def test_gpt2_init_statistics(tie_weights: bool) -> None:
    model = tiny("gpt2", vocab_size=500, embedding_dim=64, num_layers=8, qkv_bias=True, tie_weights=tie_weights)
    for name, p in model.named_parameters():
        if name.endswith("bias"):
            assert not p.data.any(), name
        elif "norm" in name:
            assert (p.data == 1).all(), name
        else:
            into_residual = name.endswith(("attention.output.weight", "down.weight"))
            std = 0.02 / 4 if into_residual else 0.02  # 1/√(2 · 8 layers)
            assert abs(p.data.mean()) < 4 * std / math.sqrt(p.size), name
            assert abs(p.data.std() / std - 1) < 4 / math.sqrt(2 * p.size), name
        assert p.dtype == np.float32
    assert (model.head.weight is model.token_embedding.weight) == tie_weights


def test_the_first_loss_with_gpt2_init_is_that_of_a_uniform_guess() -> None:
    model = tiny("gpt2", vocab_size=100)
    ids = some_ids(4, 10, vocab_size=100)
    assert abs(model.loss(ids, some_ids(4, 10, seed=2, vocab_size=100)).item() - math.log(100)) < 0.02


# -- shapes and wrong input


def test_logits_for_a_batch_one_sequence_and_nothing() -> None:
    model, ids = tiny(), some_ids(3, 7)
    assert model(ids).shape == (3, 7, 13)
    assert model(ids).dtype == np.float32
    np.testing.assert_allclose(model(ids[1]).data, model(ids).data[1], atol=1e-6)
    np.testing.assert_array_equal(model(ids.tolist()).data, model(ids).data)
    np.testing.assert_array_equal(model(Tensor(ids)).data, model(ids).data)
    np.testing.assert_array_equal(model(ids.astype(np.uint8)).data, model(ids).data)
    assert model(ids[:, :0]).shape == (3, 0, 13)
    assert model(ids[:0]).shape == (0, 7, 13)
    assert model(some_ids(1, 10)).shape == (1, 10, 13)  # a whole context


def test_wrong_ids() -> None:
    model = tiny()
    with pytest.raises(ShapeError, match=r"T at most context_length 10; got \(1, 11\)"):
        model(some_ids(1, 11))
    with pytest.raises(ShapeError, match=r"ids must be \(B, T\) or \(T,\).*got \(\)"):
        model(3)
    with pytest.raises(ShapeError, match=r"got \(1, 1, 2\)"):
        model(some_ids(1, 1, 2))
    with pytest.raises(IdRangeError, match=r"ids must be in \[0, 13\); got 13 at position \(0, 1\)"):
        model([[0, 13]])
    with pytest.raises(IdRangeError, match="got -1"):
        model([[-1]])
    with pytest.raises(DTypeError, match="ids must be integers; got float"):
        model(np.array([[1.0]]))


def test_wrong_targets() -> None:
    model = tiny()
    with pytest.raises(ShapeError, match=r"targets must be \(2, 3\).*got \(2, 2\)"):
        model.loss(some_ids(2, 3), some_ids(2, 2))
    with pytest.raises(IdRangeError, match=r"\[0, 13\); got 13"):
        model.loss([[1]], [[13]])


# -- the tied head


def test_tied_head_is_one_parameter_and_collects_both_gradients() -> None:
    model = tiny(tie_weights=True).to(np.float64)
    assert model.head.weight is model.token_embedding.weight
    assert "head.weight" not in dict(model.named_parameters())
    assert model.num_parameters() == tiny().num_parameters() - 13 * 8
    untied = tiny().to(np.float64)
    state = {**model.state_dict(), "head.weight": model.head.weight.data}
    untied.load_state_dict(state)
    ids, targets = some_ids(2, 6), some_ids(2, 6, seed=2)
    model.loss(ids, targets).backward()
    untied.loss(ids, targets).backward()
    both = untied.head.weight.grad + untied.token_embedding.weight.grad
    np.testing.assert_allclose(model.head.weight.grad, both, atol=1e-14)


def test_tied_weights_stay_tied_through_loading_and_training() -> None:
    model = tiny(tie_weights=True)
    model.load_state_dict({**tiny(seed=5, tie_weights=True).state_dict()})
    model.loss(some_ids(2, 6), some_ids(2, 6)).backward()
    AdamW(model.parameters(), lr=0.1).step()
    assert model.head.weight is model.token_embedding.weight


# -- causality


def test_a_later_token_never_changes_an_earlier_logit() -> None:
    length = 140  # several blocks of queries
    model = tiny(context_length=length).to(np.float64)
    ids = some_ids(1, length)
    with no_grad():
        before = model(ids).data
        for changed_at in (1, 63, 64, 65, 139):
            changed = ids.copy()
            changed[0, changed_at] = (ids[0, changed_at] + 1) % 13
            after = model(changed).data
            np.testing.assert_allclose(after[0, :changed_at], before[0, :changed_at], rtol=0, atol=1e-12)
            assert (np.abs(after[0, changed_at:] - before[0, changed_at:]).max(axis=-1) > 1e-9).all()


@pytest.mark.parametrize("composed", [False, True])
def test_gradient_of_a_logit_is_zero_for_later_tokens_and_not_for_earlier(composed: Any) -> None:
    model, seen = tiny().to(np.float64), []

    def keep(module: Any, args: Any, output: Any) -> None:
        output.retain_grad()
        seen.append(output)

    model.token_embedding.register_forward_hook(keep)
    if composed:
        with composed_ops():
            logits = model(some_ids(1, 8))
            logits[0, 4, 3].backward()
    else:
        logits = model(some_ids(1, 8))
        logits[0, 4, 3].backward()
    gradient = np.abs(seen[0].grad[0]).max(axis=-1)
    assert (gradient[:5] > 1e-8).all()
    assert (gradient[5:] == 0).all()


# -- the cache


@pytest.mark.parametrize("chunks", [[10], [1] * 10, [4, 1, 5], [1, 9], [9, 1], [3, 0, 7]])
@pytest.mark.parametrize("batch", [(), (1,), (3,)])
def test_cache_changes_nothing(chunks: Any, batch: int) -> None:
    model = tiny(qkv_bias=True).eval().to(np.float64)
    ids = some_ids(*batch, 10)
    with no_grad():
        whole, cache, parts, start = model(ids).data, model.new_cache(), [], 0
        for size in chunks:
            parts.append(model(ids[..., start : start + size], cache=cache).data)
            start += size
            assert cache.length == start
    np.testing.assert_allclose(np.concatenate(parts, axis=-2), whole, rtol=0, atol=1e-10)


def test_cache_over_several_blocks_of_queries() -> None:
    model = tiny(context_length=150).eval().to(np.float64)
    ids = some_ids(2, 150)
    with no_grad():
        whole, cache = model(ids).data, model.new_cache()
        parts = [model(ids[:, :70], cache=cache).data, model(ids[:, 70:140], cache=cache).data]
        parts += [model(ids[:, i : i + 1], cache=cache).data for i in range(140, 150)]
    np.testing.assert_allclose(np.concatenate(parts, axis=1), whole, rtol=0, atol=1e-10)


def test_a_full_cache_is_an_error_that_leaves_it_unchanged() -> None:
    model = tiny().eval()
    with no_grad():
        cache, ids = model.new_cache(), some_ids(1, 10)
        model(ids[:, :8], cache=cache)
        with pytest.raises(ShapeError, match=r"context_length 10 less the 8 cached; got \(1, 3\)"):
            model(some_ids(1, 3), cache=cache)
        assert cache.length == 8
        np.testing.assert_allclose(model(ids[:, 8:], cache=cache).data, model(ids).data[:, 8:], atol=1e-5)


def test_a_cache_cannot_be_used_while_gradients_are_recorded() -> None:
    model = tiny()
    cache = model.new_cache()
    with pytest.raises(GraphError, match=r"use it under no_grad\(\)"):
        model(some_ids(1, 3), cache=cache)
    assert cache.length == 0
    assert model.requires_grad_(False)(some_ids(1, 3), cache=cache).shape == (1, 3, 13)


# -- the loss


def test_loss_is_the_cross_entropy_of_the_logits() -> None:
    model = tiny().to(np.float64)
    ids, targets = some_ids(2, 7), some_ids(2, 7, seed=2)
    targets[0, :3] = -100
    loss = model.loss(ids, targets)
    logits = model(ids).data
    counted = [(b, t) for b, t in np.ndindex(2, 7) if targets[b, t] != -100]
    log_p = logits - np.log(np.exp(logits).sum(-1, keepdims=True))
    by_hand = -np.mean([log_p[b, t, targets[b, t]] for b, t in counted])
    assert loss.shape == ()
    assert abs(loss.item() - by_hand) < 1e-12
    assert abs(F.cross_entropy(model(ids), targets).item() - by_hand) < 1e-12
    with no_grad():
        assert abs(model.loss(ids, targets).item() - by_hand) < 1e-12


def gradients_of(model: Any, loss: Any) -> Any:
    model.zero_grad()
    loss.backward()
    return {name: p.grad.copy() for name, p in model.named_parameters()}


@pytest.mark.parametrize("tie_weights", [False, True])
@pytest.mark.parametrize("dropout", [0.0, 0.3])
def test_fused_loss_and_gradients_equal_the_composed_ones(tie_weights: bool, dropout: Any) -> None:
    model = tiny(tie_weights=tie_weights, dropout=dropout, qkv_bias=True).to(np.float64)
    ids, targets = some_ids(2, 9), some_ids(2, 9, seed=2)
    manual_seed(8)
    fused = model.loss(ids, targets)
    made_by = fused.node.name
    fused_gradients = gradients_of(model, fused)
    with composed_ops():
        manual_seed(8)
        composed = model.loss(ids, targets)
        composed_made_by = composed.node.name
        composed_gradients = gradients_of(model, composed)
    assert made_by == "linear_cross_entropy" != composed_made_by  # two ways indeed
    assert abs(fused.item() - composed.item()) < 1e-12
    for name, gradient in fused_gradients.items():
        np.testing.assert_allclose(gradient, composed_gradients[name], rtol=1e-9, atol=1e-13, err_msg=name)


@pytest.mark.parametrize("tie_weights", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_every_gradient_of_the_whole_model(tie_weights: bool) -> None:
    manual_seed(0)
    config = GPTConfig(7, 4, 4, 2, 2, dropout=0.0, qkv_bias=True, tie_weights=tie_weights)
    model, ids, targets = GPT(config), some_ids(2, 4, vocab_size=7), some_ids(2, 4, seed=2, vocab_size=7)
    report = gradcheck(lambda: model.loss(ids, targets), parameters=dict(model.named_parameters()))
    assert report.cases == model.num_parameters()
    report = gradcheck(lambda: model(ids), parameters=dict(model.named_parameters()), elements=8)
    assert len(report.comparisons) == len(list(model.parameters()))


# -- dropout


def test_dropout_has_the_three_places_of_the_book() -> None:
    model = tiny(dropout=0.2)
    named = [(name, m.p) for name, m in model.named_modules() if isinstance(m, nn.Dropout)]
    assert named == [
        ("dropout", 0.2),
        ("blocks.0.attention.dropout", 0.2),
        ("blocks.0.dropout", 0.2),
        ("blocks.1.attention.dropout", 0.2),
        ("blocks.1.dropout", 0.2),
    ]


@pytest.mark.parametrize("place", ["dropout", "blocks.1.attention.dropout", "blocks.1.dropout"])
def test_each_dropout_alone_makes_training_random(place: Any) -> None:
    model, ids = tiny(), some_ids(1, 8)
    dict(model.named_modules())[place].p = 0.5
    assert not np.array_equal(model(ids).data, model(ids).data)
    model.eval()
    np.testing.assert_array_equal(model(ids).data, model(ids).data)


def test_evaluation_uses_no_dropout_and_draws_no_random_numbers() -> None:
    ids = some_ids(2, 8)
    model = tiny(dropout=0.5).eval()
    before = default_generator().state()
    np.testing.assert_array_equal(model(ids).data, tiny(dropout=0.0)(ids).data)
    manual_seed(0)
    GPT(TINY)
    after = default_generator().state()
    assert all(np.array_equal(before[key], after[key]) for key in before)


def test_dropout_may_draw_from_a_generator_of_its_own() -> None:
    model, ids = tiny(dropout=0.5), some_ids(1, 8)
    nn.draw_dropout_from(model, Generator(4))
    manual_seed(1)
    first = model(ids).data
    unused = default_generator().rand(3)
    np.testing.assert_array_equal(unused, Generator(1).rand(3))
    nn.draw_dropout_from(model, Generator(4))
    np.testing.assert_array_equal(model(ids).data, first)
    nn.draw_dropout_from(model, Generator(5))
    assert not np.array_equal(model(ids).data, first)


# -- learning


@pytest.mark.parametrize("tie_weights", [False, True])
def test_twenty_steps_of_adamw_learn(tie_weights: bool) -> None:
    model = tiny("gpt2", tie_weights=tie_weights, dropout=0.1)
    optimizer = AdamW(model.parameters(), lr=3e-2)
    text = np.tile(np.arange(13), 3)
    ids, targets = text[None, :10], text[None, 1:11]
    losses = []
    for _ in range(20):
        model.zero_grad()
        loss = model.loss(ids, targets)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[0] > 2.4  # ln 13 = 2.56
    assert losses[-1] < 1.0
    assert {p.dtype for p in model.parameters()} == {p.grad.dtype for p in model.parameters()} == {np.dtype("float32")}


def test_frozen_parameters_get_no_gradient() -> None:
    model = tiny().requires_grad_(False)
    model.head.requires_grad_(True)
    model.loss(some_ids(1, 4), some_ids(1, 4)).backward()
    assert [name for name, p in model.named_parameters() if p.grad is not None] == ["head.weight"]


def step(model: Any, optimizer: Any, ids: Any, targets: Any) -> None:
    model.zero_grad()
    model.loss(ids, targets).backward()
    optimizer.step()


@pytest.mark.slow
def test_memory_does_not_grow_over_steps() -> None:
    model = tiny(dropout=0.1)
    optimizer, ids = AdamW(model.parameters()), some_ids(2, 10)
    gc.collect()
    gc.freeze()  # what is older than this test need not be looked at again
    tracemalloc.start()
    try:
        gc.disable()
        held, peaks, in_cycles = [], [], []
        for _ in range(4):
            for _ in range(40):
                tracemalloc.reset_peak()
                step(model, optimizer, ids, ids)
            in_cycles.append(gc.collect())  # it also empties CPython's lists of free tuples, which hold memory too
            current, peak = tracemalloc.get_traced_memory()
            held.append(current)
            peaks.append(peak)
    finally:
        gc.enable()
        gc.unfreeze()
        tracemalloc.stop()
    assert in_cycles[1:] == [0, 0, 0]
    assert held[-1] - held[1] < 5000  # one array per step would be more than 10,000
    assert peaks[-1] - peaks[1] < 7000


def test_no_reference_cycle_keeps_a_step_alive() -> None:
    model = tiny(dropout=0.1)
    optimizer, ids = AdamW(model.parameters()), some_ids(2, 10)
    step(model, optimizer, ids, ids)
    gc.collect()
    gc.disable()
    try:
        step(model, optimizer, ids, ids)
        loss = model.loss(ids, ids)  # never walked back
        node = weakref.ref(loss)
        del loss
        assert node() is None
        with no_grad():
            cache = model.new_cache()
            model(ids, cache=cache)
        del cache
        assert gc.collect() == 0
    finally:
        gc.enable()


def test_the_loss_uses_the_forward_of_a_changed_head() -> None:
    """A wrapper, a bias or a hook in the head's place counts in the loss as it does in the logits."""

    class Doubled(nn.Module):
        def __init__(self, head: nn.Linear) -> None:
            self.head = head

        def forward(self, x: Tensor) -> Tensor:
            return self.head(x) * 2

    manual_seed(0)
    model = GPT(GPTConfig(11, 4, 8, 2, 1, dropout=0.0))
    ids, targets = np.array([[1, 2, 3]]), np.array([[2, 3, 4]])
    plain = model.loss(ids, targets).item()
    with model.head.register_forward_hook(lambda module, args, output: output * 2):
        hooked = model.loss(ids, targets).item()
    model.head = Doubled(model.head)
    doubled = model.loss(ids, targets).item()
    assert hooked == doubled == F.cross_entropy(model(ids), targets).item() != plain
