"""The KV cache can forget its end, and let sequences branch."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinygrad_llm import Generator
from tinygrad_llm.errors import ConfigError, ShapeError
from tinygrad_llm.generate.speculative import Pace
from tinygrad_llm.layers.window_cache import MAX_ROLLBACK, tokens_held
from tinygrad_llm.nn import DecoderCache, KVCache, MemoryCache, WindowCache


def filled(generator, cache, tokens, batch=2):
    """What the layers hold after `tokens` more."""
    views = []
    for layer in cache.layers:
        keys, values = (generator.randn(batch, 3, tokens, 4) for _ in range(2))
        views.append([view.copy() for view in layer.extend(keys, values)])
    return np.array(views)


def test_truncate_forgets_the_end_and_keeps_the_rest():
    cache, generator = KVCache(2, 10), Generator(0)
    before = filled(generator, cache, 7)
    cache.truncate(4)
    assert cache.length == 4
    after = filled(generator, cache, 2)
    assert after.shape[-2] == 6
    np.testing.assert_array_equal(after[..., :4, :], before[..., :4, :])
    assert not np.array_equal(after[..., 4:, :], before[..., 4:6, :])
    cache.truncate(0)
    assert cache.length == 0


@pytest.mark.parametrize("length", [-1, 6])
def test_a_cache_cannot_be_cut_to_what_it_does_not_hold(length):
    cache = KVCache(1, 10)
    filled(Generator(0), cache, 5)
    with pytest.raises(ConfigError, match=rf"a length in 0\.\.5, what it holds; got {length}"):
        cache.truncate(length)
    assert cache.length == 5


@pytest.mark.parametrize("rows", [[1, 0], [1], [0, 0, 1], []])
def test_select_lets_sequences_branch(rows):
    cache, generator = KVCache(2, 10), Generator(0)
    before = filled(generator, cache, 5)
    cache.select(np.array(rows, int))
    assert cache.length == 5
    after = filled(generator, cache, 1, batch=len(rows))
    np.testing.assert_array_equal(after[..., :5, :], before[:, :, rows])


@given(
    window=st.integers(1, 12),
    steps=st.lists(st.tuples(st.sampled_from(["read"] * 3 + ["cut", "rows"]), st.integers(0, 70)), max_size=40),
)
def test_a_window_cache_holds_what_a_window_needs(window, steps):
    """Beside a cache that keeps all: the same last tokens, whatever is read, cut off again and selected."""
    whole, cache, generator = KVCache(1, 300), KVCache(1, 300, [window]), Generator(0)
    layer, batch = cache.layers[0], 2
    for step, size in steps:
        if step == "read" and whole.length + size <= 300:
            keys, values = (generator.randn(batch, 3, size, 4) for _ in range(2))
            expected = whole.layers[0].extend(keys, values)
            for found, every in zip(layer.extend(keys, values), expected, strict=True):
                assert found.shape[-2] >= min(whole.length, size + window - 1)
                np.testing.assert_array_equal(found, every[..., every.shape[-2] - found.shape[-2] :, :])
        elif step == "cut" and size <= whole.length:
            back = size if size < 20 else whole.length
            whole.truncate(max(whole.length - back, 0))
            cache.truncate(whole.length)
            if cache.length < whole.length:  # as if never read: read again what all others still know
                assert cache.length == 0 and back > MAX_ROLLBACK
                whole.truncate(0)
        elif step == "rows":
            rows = np.array([[1, 0], [0, 0]][size % 2])
            whole.select(rows)
            cache.select(rows)
        assert cache.length == whole.length
        if layer.nbytes:
            assert layer.nbytes == 2 * batch * 3 * tokens_held(300, window) * 4 * 4


def test_a_pass_of_guesses_can_always_be_taken_back():
    assert Pace.MOST < MAX_ROLLBACK
    for window in (1, 4, 40):
        cache, zeros = KVCache(1, 1000, [window]), np.zeros((1, 1, 16, 2))
        for _ in range(60):
            cache.layers[0].extend(zeros, zeros)
            cache.truncate(cache.length - 15)
            assert cache.length
    assert tokens_held(4096, 128) == 127 + 16 + 32 and tokens_held(100, 4096) == tokens_held(100) == 100


def test_a_window_cache_that_lost_its_past_says_so():
    cache, new = KVCache(2, 100, [4, None]), np.zeros((1, 1, 2, 3))
    for _ in range(20):
        for layer in cache.layers:
            layer.extend(new, new)
    cache.truncate(30)
    assert cache.length == 30
    cache.truncate(12)
    assert [layer.length for layer in cache.layers] == [0, 0]
    with pytest.raises(ConfigError, match=r"a length in 0\.\.0"):
        cache.truncate(-1)
    with pytest.raises(ShapeError, match="room for 101 more tokens; 0 of its 100 are filled"):
        cache.layers[0].extend(np.zeros((1, 1, 101, 3)), np.zeros((1, 1, 101, 3)))
    assert isinstance(cache.layers[0], WindowCache) and cache.layers[0].nbytes < cache.layers[1].nbytes


def test_an_empty_cache_has_nothing_to_select():
    cache = KVCache(1, 10)
    cache.select(np.array([0, 0]))
    assert filled(Generator(0), cache, 2).shape == (1, 2, 2, 3, 2, 4)


def test_a_memory_is_kept_from_the_first_call_and_follows_its_rows():
    generator, memory = Generator(0), MemoryCache()
    keys, values = generator.randn(3, 2, 5, 4), generator.randn(3, 2, 5, 4)
    memory.select(np.array([0]))  # nothing is there yet
    memory.extend(keys, values)
    memory.select(np.array([2, 0, 2]))
    np.testing.assert_array_equal(memory.held[0], keys[[2, 0, 2]])
    np.testing.assert_array_equal(memory.held[1], values[[2, 0, 2]])
    shared = MemoryCache()
    shared.extend(keys[:1], values[:1])
    shared.select(np.array([0, 0, 0]))  # one memory for all rows
    assert len(shared.held[0]) == 1


def test_a_decoder_s_cache_selects_in_both_parts():
    cache, generator = DecoderCache(2, 6), Generator(1)
    filled(generator, cache, 3)
    for memory in cache.memories:
        memory.extend(generator.randn(2, 3, 4, 4), generator.randn(2, 3, 4, 4))
    first = cache.memories[1].held[0].copy()
    cache.select(np.array([1]))
    np.testing.assert_array_equal(cache.memories[1].held[0], first[1:])
    assert cache.layers[0].extend(np.zeros((1, 3, 1, 4)), np.zeros((1, 3, 1, 4)))[0].shape == (1, 3, 4, 4)
