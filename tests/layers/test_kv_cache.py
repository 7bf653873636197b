"""The KV cache: extend, truncate, select, and its room."""

from typing import Any

import numpy as np
import pytest

from tinygrad_llm import Generator, nn
from tinygrad_llm.errors import ConfigError, ShapeError
from tinygrad_llm.layers.window_cache import tokens_held
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


def test_the_room_follows_the_text_and_ends_at_the_capacity() -> None:
    """A context may be long, and the texts short: a cache of 8,192 tokens of SmolLM2's shape would take 377 MB."""
    cache, keys = KVCache(1, 1_500, [1_000]), Generator(0).randn(1, 2, 1_500, 3)
    whole, rooms = KVCache(1, 1_500), []
    for length in range(0, 1_500, 50):
        for one in (cache, whole):
            new = keys[..., length : length + 50, :]
            found, _ = one.layers[0].extend(new, -new)
        np.testing.assert_array_equal(found, keys[..., : length + 50, :])
        rooms.append((whole.nbytes, cache.nbytes))
    room = [size // (2 * 2 * 3 * keys.itemsize) for size, _ in rooms]
    assert list(dict.fromkeys(room)) == [256, 512, 1_024, 1_500]
    assert rooms[4] == (rooms[4][0],) * 2 and rooms[-1][1] == tokens_held(1_500, 1_000) * rooms[-1][0] // 1_500
    branch = whole.branch(np.arange(1))
    branch.truncate(7)
    np.testing.assert_array_equal(branch.layers[0].extend(new, new)[0][..., :7, :], keys[..., :7, :])


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


def test_a_branch_continues_rows_and_leaves_the_cache_as_it_is() -> None:
    generator, cache = Generator(0), KVCache(2, 6, [None, 2])
    held = filled(generator, cache, 3)
    branch = cache.branch(np.array([1, 0, 1]))
    continued = filled(generator, branch, 2, batch=3)
    assert (cache.length, branch.length) == (3, 5)
    np.testing.assert_array_equal(continued[:, :, :, :, :3], held[:, :, [1, 0, 1]])
    again = filled(generator, cache, 1)
    np.testing.assert_array_equal(again[..., :3, :], held)
