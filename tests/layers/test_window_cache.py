"""The cache of attention with a window, compared with one that keeps everything."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinygrad_llm import Generator
from tinygrad_llm.errors import ConfigError, ShapeError
from tinygrad_llm.generate.speculative import DraftLength
from tinygrad_llm.layers.window_cache import MAX_ROLLBACK, tokens_held
from tinygrad_llm.nn import KVCache, WindowCache


@given(
    window=st.integers(1, 12),
    steps=st.lists(st.tuples(st.sampled_from(["read"] * 3 + ["cut", "rows"]), st.integers(0, 70)), max_size=40),
)
def test_the_last_tokens_equal_those_of_a_cache_that_keeps_all(window: int, steps: Any) -> None:
    """Beside a cache that keeps all: the same last tokens, whatever is read, cut off again and selected."""
    whole, cache, generator = KVCache(1, 300), KVCache(1, 300, [window]), Generator(0)
    layer, batch = cache.layers[0], 2
    cut = 0  # tokens cut off since the last were read
    for step, size in steps:
        if step == "read" and whole.length + size <= 300:
            cut = 0 if size else cut
            keys, values = (generator.randn(batch, 3, size, 4) for _ in range(2))
            expected = whole.layers[0].extend(keys, values)
            for found, every in zip(layer.extend(keys, values), expected, strict=True):
                assert found.shape[-2] >= min(whole.length, size + window - 1)
                np.testing.assert_array_equal(found, every[..., every.shape[-2] - found.shape[-2] :, :])
        elif step == "cut" and size <= whole.length:
            back = size if size < 20 else whole.length
            cut += back
            whole.truncate(max(whole.length - back, 0))
            cache.truncate(whole.length)
            if cache.length < whole.length:  # as if never read: read again what all others still know
                assert cache.length == 0 and cut > MAX_ROLLBACK
                whole.truncate(0)
        elif step == "rows":
            rows = np.array([[1, 0], [0, 0]][size % 2])
            whole.select(rows)
            cache.select(rows)
        assert cache.length == whole.length
        if layer.nbytes:
            assert layer.nbytes == 2 * batch * 3 * tokens_held(300, window) * 4 * 4


def test_a_pass_of_speculative_guesses_can_always_be_truncated() -> None:
    assert DraftLength.MOST < MAX_ROLLBACK
    for window in (1, 4, 40):
        cache, zeros = KVCache(1, 1000, [window]), np.zeros((1, 1, 16, 2))
        for _ in range(60):
            cache.layers[0].extend(zeros, zeros)
            cache.truncate(cache.length - 15)
            assert cache.length
    assert tokens_held(4096, 128) == 127 + 16 + 32 and tokens_held(100, 4096) == tokens_held(100) == 100


def test_truncating_into_dropped_tokens_empties_the_cache() -> None:
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
