"""The cache of cross-attention, and the decoder's cache that holds it."""

from typing import Any

import numpy as np

from tinygrad_llm import Generator
from tinygrad_llm.nn import DecoderCache, MemoryCache


def filled(generator: Any, cache: Any, tokens: int, batch: int = 2) -> Any:
    """What the layers hold after `tokens` more."""
    views = []
    for layer in cache.layers:
        keys, values = (generator.randn(batch, 3, tokens, 4) for _ in range(2))
        views.append([view.copy() for view in layer.extend(keys, values)])
    return np.array(views)


def test_a_memory_is_kept_and_select_reorders_it() -> None:
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


def test_select_reorders_both_caches_of_a_decoder() -> None:
    cache, generator = DecoderCache(2, 6), Generator(1)
    filled(generator, cache, 3)
    for memory in cache.memories:
        memory.extend(generator.randn(2, 3, 4, 4), generator.randn(2, 3, 4, 4))
    first = cache.memories[1].held[0].copy()
    cache.select(np.array([1]))
    np.testing.assert_array_equal(cache.memories[1].held[0], first[1:])
    assert cache.layers[0].extend(np.zeros((1, 3, 1, 4)), np.zeros((1, 3, 1, 4)))[0].shape == (1, 3, 4, 4)


def test_a_branch_leaves_both_caches_as_they_are() -> None:
    cache, generator = DecoderCache(1, 6), Generator(1)
    filled(generator, cache, 3)
    cache.memories[0].extend(generator.randn(2, 3, 4, 4), generator.randn(2, 3, 4, 4))
    held = cache.memories[0].held
    branch = cache.branch(np.array([1, 1, 0]))
    assert cache.memories[0].held is held
    np.testing.assert_array_equal(branch.memories[0].held[0], held[0][[1, 1, 0]])
