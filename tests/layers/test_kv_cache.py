"""The KV cache: extend, truncate, select."""

from typing import Any

import numpy as np
import pytest

from tinygrad_llm import Generator, nn
from tinygrad_llm.errors import ConfigError, ShapeError
from tinygrad_llm.nn import KVCache


def filled(generator: Any, cache: Any, tokens: int, batch: int = 2) -> Any:
    """What the layers hold after `tokens` more."""
    views = []
    for layer in cache.layers:
        keys, values = (generator.randn(batch, 3, tokens, 4) for _ in range(2))
        views.append([view.copy() for view in layer.extend(keys, values)])
    return np.array(views)


def test_extend_appends_and_returns_all_tokens_so_far() -> None:
    cache, keys = nn.LayerCache(4), Generator(0).randn(2, 1, 4, 3)
    k, v = cache.extend(keys[..., :1, :], -keys[..., :1, :])
    assert cache.length == 1
    k, v = cache.extend(keys[..., 1:4, :], -keys[..., 1:4, :])
    np.testing.assert_array_equal(k, keys)
    np.testing.assert_array_equal(v, -keys)
    with pytest.raises(ShapeError, match="cache: must have room for 1 more tokens; 4 of its 4"):
        cache.extend(keys[..., :1, :], keys[..., :1, :])
    assert cache.length == 4


def test_layer_cache_refuses_another_batch() -> None:
    cache = nn.LayerCache(4)
    cache.extend(np.zeros((2, 1, 1, 3)), np.zeros((2, 1, 1, 3)))
    with pytest.raises(ShapeError, match=r"cache: \(B, G\) must stay \(2, 1\); got \(3, 1\)"):
        cache.extend(np.zeros((3, 1, 1, 3)), np.zeros((3, 1, 1, 3)))


def test_truncate_forgets_the_end_and_keeps_the_rest() -> None:
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
def test_truncate_refuses_a_length_that_the_cache_does_not_hold(length: Any) -> None:
    cache = KVCache(1, 10)
    filled(Generator(0), cache, 5)
    with pytest.raises(ConfigError, match=rf"a length in 0\.\.5, what it holds; got {length}"):
        cache.truncate(length)
    assert cache.length == 5


@pytest.mark.parametrize("rows", [[1, 0], [1], [0, 0, 1], []])
def test_select_repeats_and_drops_sequences(rows: Any) -> None:
    cache, generator = KVCache(2, 10), Generator(0)
    before = filled(generator, cache, 5)
    cache.select(np.array(rows, int))
    assert cache.length == 5
    after = filled(generator, cache, 1, batch=len(rows))
    np.testing.assert_array_equal(after[..., :5, :], before[:, :, rows])


def test_select_leaves_an_empty_cache_empty() -> None:
    cache = KVCache(1, 10)
    cache.select(np.array([0, 0]))
    assert filled(Generator(0), cache, 2).shape == (1, 2, 2, 3, 2, 4)
