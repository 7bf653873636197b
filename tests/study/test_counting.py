import tracemalloc

import numpy as np
import pytest
from tiny_gpt import tiny

from tinygrad_llm import manual_seed, study
from tinygrad_llm.errors import ConfigError
from tinygrad_llm.models import EncoderDecoder, EncoderDecoderConfig
from tinygrad_llm.ops.cross_entropy import cross_entropy
from tinygrad_llm.ops.fusion import composed_ops

B, T = 3, 7


def test_flops_are_the_sum_of_the_products():
    model = tiny()
    counted = study.flops(model, B, T)
    multiplied = [p for name, p in model.named_parameters() if p.ndim == 2 and "embedding" not in name]
    products = sum(2 * B * T * p.size for p in multiplied)
    attention = 2 * (2 * B * T * T * (8 + 8))
    assert counted.forward == products + attention
    assert counted.by_module["head"] == 2 * B * T * 8 * 13
    assert counted.by_module["blocks.0.attention"] == attention // 2
    assert "layer_norm" in counted.uncounted and "head" in str(counted)


def test_definitions_cost_as_much_in_products_as_fused_ops():
    model = tiny()
    with composed_ops():
        composed = study.flops(model, B, T)
    assert composed.forward == study.flops(model, B, T).forward


def numpy_bytes():
    domain = tracemalloc.DomainFilter(True, np.lib.tracemalloc_domain)
    return sum(trace.size for trace in tracemalloc.take_snapshot().filter_traces([domain]).traces)


@pytest.mark.parametrize("dropout", [0.0, 0.4])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_activations_are_the_bytes_that_numpy_holds(dropout, dtype):
    model = tiny(dtype=dtype, dropout=dropout)
    counted = study.memory(model, B, T)
    ids = np.zeros((B, T), np.int64)
    cross_entropy(model(ids), ids).backward()  # what is made once and kept, such as tables, is there now
    tracemalloc.start()
    try:
        before = numpy_bytes()
        loss = cross_entropy(model(ids), ids)
        held = numpy_bytes() - before
    finally:
        tracemalloc.stop()
    assert counted.activations == held - loss.data.nbytes


def test_parameters_gradients_and_cache():
    model = tiny(dtype=np.float32)
    model.head.weight.requires_grad = False
    counted = study.memory(model, B, T)
    ids = np.zeros((B, T), np.int64)
    cross_entropy(model(ids), ids).backward()
    assert counted.parameters == sum(p.data.nbytes for p in model.parameters())
    assert counted.gradients == sum(p.grad.nbytes for p in model.parameters() if p.grad is not None)
    assert counted.optimizer == 2 * counted.gradients
    assert counted.kv_cache == 2 * 2 * B * T * 8 * 4
    assert counted.training == counted.parameters + 3 * counted.gradients + counted.activations
    assert "kv cache" in str(counted)


def test_counting_draws_no_number_of_the_training():
    model = tiny()
    manual_seed(5)
    expected = model(np.zeros((1, 3), np.int64)).data
    manual_seed(5)
    study.memory(model, B, T)
    np.testing.assert_array_equal(model(np.zeros((1, 3), np.int64)).data, expected)


def test_sizes_below_one_are_refused():
    for count in (study.flops, study.memory):
        with pytest.raises(ConfigError, match="at least 1"):
            count(tiny(), 0, 4)


def test_a_model_of_two_inputs_reads_ids_for_each():
    sizes = {"vocab_size": 20, "context_length": 8, "embedding_dim": 8, "num_heads": 2, "num_layers": 1}
    model = EncoderDecoder(EncoderDecoderConfig(**sizes))
    counted = study.flops(model, 2, 4)
    projections, feed_forward, attention = 4 * 2 * 8 * 8 * 8, 2 * 2 * 8 * 8 * 32, 2 * 2 * 2 * 4 * 4 * 8
    assert counted.forward == 3 * (projections + attention) + 2 * feed_forward + 2 * 8 * 8 * 20
    assert study.memory(model, 2, 4).activations > 0
