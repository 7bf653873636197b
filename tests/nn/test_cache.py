"""The KV cache can forget its end, and let sequences branch."""

import numpy as np
import pytest

from tinygrad_llm import Generator
from tinygrad_llm.errors import ConfigError
from tinygrad_llm.nn import DecoderCache, KVCache, MemoryCache


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
