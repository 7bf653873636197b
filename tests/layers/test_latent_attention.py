"""Latent attention, with and without its cache."""

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from layer_checks import assert_a_cache_changes_nothing, every_gradient_of, randn

from tinygrad_llm import manual_seed, nn, no_grad
from tinygrad_llm.errors import GraphError


def latent(rotary: Any = None) -> Any:
    manual_seed(0)
    return nn.MultiHeadLatentAttention(8, 2, 3, rotary=rotary).to(np.float64)


ATTENTIONS = {"latent": latent, "latent and rotary": lambda: latent(nn.RotaryPositions(2, 10.0))}


@pytest.mark.parametrize("name", ATTENTIONS)
def test_every_gradient_of_latent_attention(name: str) -> None:
    assert every_gradient_of(ATTENTIONS[name](), randn(2, 5, 8))


def test_equals_attention_over_keys_projected_from_latents() -> None:
    layer, x = ATTENTIONS["latent and rotary"](), randn(1, 5, 8)
    weight = {name: p.data for name, p in layer.named_parameters()}
    compressed = x @ weight["compress.weight"].T
    latents = compressed[..., :3] / np.sqrt((compressed[..., :3] ** 2).mean(-1, keepdims=True) + 1e-6)
    angles = np.arange(5)[:, None]  # one pair of features, which turns by 1 per token

    def turned(pair: Any) -> Any:
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


@pytest.mark.parametrize("name", ATTENTIONS)
@settings(deadline=None, max_examples=20)
@given(cuts=st.lists(st.integers(0, 9), max_size=3), batch=st.integers(1, 2))
def test_reading_in_parts_through_a_cache_equals_reading_at_once(name: str, cuts: list[int], batch: int) -> None:
    assert_a_cache_changes_nothing(ATTENTIONS[name](), batch, cuts)


def test_only_latents_and_the_shared_key_are_cached() -> None:
    layer, cache = ATTENTIONS["latent and rotary"](), nn.LayerCache(7)
    with no_grad():
        layer(randn(2, 7, 8), cache=cache)
    assert layer.cache_width == 3 + 2
    assert cache.nbytes == 2 * 7 * (3 + 2) * 8  # sequences, tokens, numbers, bytes
    with pytest.raises(GraphError, match="no gradient flows"):
        layer(randn(2, 1, 8), cache=nn.LayerCache(7))
