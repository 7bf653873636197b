import tracemalloc

import numpy as np
import pytest
from tiny_gpt import tiny

from tinygrad_llm import Tensor, buffers, manual_seed, nn, study
from tinygrad_llm.buffers import memory_owner
from tinygrad_llm.errors import ConfigError
from tinygrad_llm.models import EncoderDecoder, EncoderDecoderConfig, Llama, LlamaConfig
from tinygrad_llm.ops.attention import scaled_dot_product_attention
from tinygrad_llm.ops.dispatch import composed_ops
from tinygrad_llm.study.counting import visible_pairs

B, T = 3, 7


def test_flops_are_the_sum_of_the_products() -> None:
    model = tiny()
    counted = study.flops(model, B, T)
    multiplied = [p for name, p in model.named_parameters() if p.ndim == 2 and "embedding" not in name]
    products = sum(2 * B * T * p.size for p in multiplied)
    pairs = T * (T + 1) // 2  # the past and the token itself
    attention = 2 * (2 * B * pairs * (8 + 8))
    assert counted.forward == products + attention
    assert counted.by_module["loss"] == 2 * B * T * 8 * 13  # the head's, which the loss works out with it
    assert counted.by_module["blocks.0.attention"] == attention // 2
    assert "layer_norm" in counted.uncounted and "scaled_dot_product_attention" not in counted.uncounted
    assert "feed_forward.up" in str(counted)


def test_masked_keys_do_not_count() -> None:
    def pairs(mask: np.ndarray | None = None, is_causal: bool = False, queries: int = 3, keys: int = 4) -> int:
        q, k = Tensor(np.zeros((2, 5, queries, 8))), Tensor(np.zeros((2, 1, keys, 8)))
        return visible_pairs(q, k, mask, is_causal)

    first_hidden = np.arange(4) > 0
    assert pairs() == 2 * 5 * 3 * 4
    assert pairs(is_causal=True) == 2 * 5 * (2 + 3 + 4)
    assert pairs(first_hidden) == pairs(np.where(first_hidden, 0, -np.inf)) == 2 * 5 * 3 * 3
    assert pairs(first_hidden, is_causal=True) == 2 * 5 * (1 + 2 + 3)
    of_one_text = np.ones((2, 1, 3, 4), bool)
    of_one_text[0] = False
    assert pairs(of_one_text) == 5 * 3 * 4
    assert pairs(queries=0) == pairs(keys=0) == 0


def test_keys_outside_the_window_do_not_count() -> None:
    sizes = {"vocab_size": 20, "context_length": 8, "embedding_dim": 8, "num_heads": 2, "num_layers": 1}
    counted = [study.flops(Llama(LlamaConfig(**sizes, window=w)), 2, 4).forward for w in (None, 3, 2)]
    one_pair = 2 * 2 * 2 * (4 + 4)  # two texts, two heads
    assert [counted[0] - counted[1], counted[1] - counted[2]] == [one_pair, 2 * one_pair]


def test_a_layer_of_your_own_is_counted() -> None:
    class Looking(nn.Module):
        def __init__(self) -> None:
            self.table = nn.Parameter(np.ones((20, 8), np.float32))

        def forward(self, ids: np.ndarray) -> Tensor:
            x = self.table[ids].unsqueeze(-3)
            return scaled_dot_product_attention(x, x, x, is_causal=True).squeeze(-3) @ self.table.T

    counted = study.flops(Looking(), 2, 4)
    assert counted.forward == 2 * 2 * 10 * (8 + 8) + 2 * 2 * 4 * 8 * 20


def test_recomputation_in_backward_does_not_count() -> None:
    model = tiny()
    expected = study.flops(model, B, T)
    nn.checkpoint_activations(model)
    assert study.flops(model, B, T) == expected
    assert model.blocks[0].recompute is not None


def test_definitions_have_the_products_of_fused_ops() -> None:
    model = tiny()
    with composed_ops():
        composed = study.flops(model, B, T)
    assert composed.forward == study.flops(model, B, T).forward


def numpy_bytes() -> int:
    domain = tracemalloc.DomainFilter(True, np.lib.tracemalloc_domain)
    return sum(trace.size for trace in tracemalloc.take_snapshot().filter_traces([domain]).traces)


@pytest.mark.parametrize("dropout", [0.0, 0.4])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_activations_are_the_bytes_that_numpy_holds(dropout: float, dtype: type) -> None:
    model = tiny(dtype=dtype, dropout=dropout)
    counted = study.memory(model, B, T)
    ids = np.zeros((B, T), np.int64)
    model.loss(ids, ids).backward()  # what is made once and kept, such as tables, is there now
    tracemalloc.start()
    try:
        before = numpy_bytes()
        loss = model.loss(ids, ids)
        held = numpy_bytes() - before
    finally:
        tracemalloc.stop()
    assert counted.activations == held - loss.data.nbytes


def test_parameters_gradients_and_cache() -> None:
    model = tiny(dtype=np.float32)
    model.head.weight.requires_grad = False
    counted = study.memory(model, B, T)
    ids = np.zeros((B, T), np.int64)
    model.loss(ids, ids).backward()
    assert counted.parameters == sum(p.data.nbytes for p in model.parameters())
    assert counted.gradients == sum(p.grad.nbytes for p in model.parameters() if p.grad is not None)
    assert counted.optimizer == 2 * counted.gradients
    assert counted.kv_cache == 2 * 2 * B * T * 8 * 4
    assert counted.training == counted.parameters + 3 * counted.gradients + counted.activations
    assert "kv cache" in str(counted)


def test_counting_leaves_the_random_generators_unchanged() -> None:
    model = tiny()
    manual_seed(5)
    expected = model(np.zeros((1, 3), np.int64)).data
    manual_seed(5)
    study.memory(model, B, T)
    np.testing.assert_array_equal(model(np.zeros((1, 3), np.int64)).data, expected)


def test_sizes_below_one_are_refused() -> None:
    for count in (study.flops, study.memory):
        with pytest.raises(ConfigError, match="at least 1"):
            count(tiny(), 0, 4)


def test_a_model_of_two_inputs_reads_ids_for_each() -> None:
    sizes = {"vocab_size": 20, "context_length": 8, "embedding_dim": 8, "num_heads": 2, "num_layers": 1}
    model = EncoderDecoder(EncoderDecoderConfig(**sizes))
    counted = study.flops(model, 2, 4)
    projections, feed_forward, attention = 4 * 2 * 8 * 8 * 8, 2 * 2 * 8 * 8 * 32, 2 * 2 * 2 * 4 * 4 * 8
    hidden = 2 * 2 * 2 * 6 * 8  # the future, from the decoder's attention to itself
    assert counted.forward == 3 * (projections + attention) - hidden + 2 * feed_forward + 2 * 8 * 8 * 20
    assert study.memory(model, 2, 4).activations > 0


def test_an_array_in_a_larger_buffer_counts_by_its_own_size() -> None:
    larger = buffers.empty((400_000,), np.uint8)
    del larger
    array = buffers.empty((100, 3000), np.uint8)
    assert memory_owner(array[::2].reshape(-1)[5:]) is not array  # a copy
    assert memory_owner(array[::2, 5:]) is array and array.nbytes == 300_000 < len(array.base)
