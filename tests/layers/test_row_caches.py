"""Rows with a cache each: the same numbers as each row alone, whatever kind of cache a layer has."""

import numpy as np
import pytest

from tinygrad_llm import manual_seed, no_grad
from tinygrad_llm.errors import ShapeError
from tinygrad_llm.layers import KVCache, MultiHeadLatentAttention, RowCaches
from tinygrad_llm.models import Llama, LlamaConfig
from tinygrad_llm.nn import LayerNorm, ModuleList


def llama() -> Llama:
    manual_seed(0)
    sizes = {"vocab_size": 20, "context_length": 30, "embedding_dim": 16, "num_heads": 2, "num_layers": 2}
    return Llama(LlamaConfig.from_dict(sizes)).eval().to(np.float64)


def expect_rows_as_alone(model: Llama) -> None:
    ids = np.array([[3], [4], [5]])
    lengths = (7, 1, 12)
    with no_grad():
        caches = [model.new_cache() for _ in lengths]
        for cache, length in zip(caches, lengths, strict=True):
            model(np.arange(length)[None], cache)
        alone = [model(row[None], cache.branch(np.arange(1))).data for row, cache in zip(ids, caches, strict=True)]
        rows = KVCache.of_rows(caches)
        together = model(ids, rows, positions=np.array(lengths)[:, None]).data
    np.testing.assert_allclose(together, np.concatenate(alone), atol=1e-12)
    assert [cache.length for cache in caches] == [length + 1 for length in lengths]
    assert RowCaches(caches).length == 13


def test_attention_reads_each_rows_own_cache() -> None:
    expect_rows_as_alone(llama())


def test_a_layer_without_a_fast_form_reads_the_rows_one_by_one() -> None:
    model = llama()
    for block in model.blocks:
        block.attention = (
            MultiHeadLatentAttention(16, 2, latent_dim=8, rotary=block.attention.rotary).eval().to(np.float64)
        )
    expect_rows_as_alone(model)


def test_a_hooked_layer_too() -> None:
    model = llama()
    seen = []
    model.blocks[1].attention.register_forward_hook(lambda *_: seen.append(1))
    model.blocks = ModuleList(model.blocks)
    model.final_norm = LayerNorm(16).to(np.float64)
    expect_rows_as_alone(model)
    assert len(seen) == 3 + 3 + 3


def test_in_training_mode_it_is_refused() -> None:
    model = llama()
    caches = [model.new_cache(), model.new_cache()]
    with no_grad(), pytest.raises(ShapeError, match="in evaluation mode"):
        model.train()(np.array([[1], [2]]), RowCaches(caches), positions=np.array([[0], [0]]))
