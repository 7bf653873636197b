"""What all layers have in common: each is its op, its initial values, its dtype, its errors."""

import math

import numpy as np
import pytest

from tinygrad_llm import Generator, default_generator, manual_seed, nn
from tinygrad_llm.errors import DTypeError, IdRangeError, ShapeError


def test_layers_draw_weight_then_bias_from_the_default_generator() -> None:
    manual_seed(7)
    layer = nn.Linear(4, 3)
    manual_seed(7)
    bound = 1 / math.sqrt(4)
    np.testing.assert_array_equal(layer.weight.data, default_generator().uniform(-bound, bound, (3, 4)))
    np.testing.assert_array_equal(layer.bias.data, default_generator().uniform(-bound, bound, (3,)))
    assert layer.weight.dtype == layer.bias.dtype == np.float32


def test_norms_start_as_the_identity_on_normalized_rows() -> None:
    assert nn.LayerNorm(3).weight.data.tolist() == nn.RMSNorm(3).weight.data.tolist() == [1, 1, 1]
    assert nn.LayerNorm(3).bias.data.tolist() == [0, 0, 0]
    assert nn.LayerNorm(3, bias=False).bias is None


def test_each_layer_is_its_op_with_its_own_weights() -> None:
    x = Generator(0).randn(2, 3, 4)
    linear, plain = nn.Linear(4, 5), nn.Linear(4, 5, bias=False)
    np.testing.assert_allclose(linear(x).data, x @ linear.weight.data.T + linear.bias.data, atol=1e-6)
    np.testing.assert_allclose(plain(x).data, x @ plain.weight.data.T, atol=1e-6)
    norm = nn.LayerNorm(4, eps=0.1)
    norm.weight.data[...], norm.bias.data[...] = [1, 2, 3, 4], [4, 3, 2, 1]
    by_hand = (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + 0.1)
    np.testing.assert_allclose(norm(x).data, by_hand * norm.weight.data + norm.bias.data, atol=1e-5)
    rms = nn.RMSNorm(4, eps=0.1)
    rms.weight.data[...] = [1, 2, 3, 4]
    by_hand = x / np.sqrt((x * x).mean(-1, keepdims=True) + 0.1)
    np.testing.assert_allclose(rms(x).data, by_hand * rms.weight.data, atol=1e-5)
    np.testing.assert_array_equal(nn.ReLU()(x).data, np.maximum(x, 0))
    np.testing.assert_allclose(nn.SiLU()(x).data, x / (1 + np.exp(-x)), atol=1e-6)
    by_hand = [0.5 * v * (1 + math.erf(v / math.sqrt(2))) for v in x.ravel().tolist()]
    np.testing.assert_allclose(nn.GELU()(x).data.ravel(), by_hand, atol=1e-6)
    by_hand = 0.5 * x * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))
    np.testing.assert_allclose(nn.GELU("tanh")(x).data, by_hand, atol=1e-6)


def test_integers_come_in_as_float32() -> None:
    x = np.arange(6).reshape(2, 3)
    for layer in (nn.Linear(3, 2), nn.LayerNorm(3), nn.RMSNorm(3), nn.GELU(), nn.SiLU(), nn.MultiHeadAttention(3, 1)):
        assert layer(x).dtype == np.float32
        np.testing.assert_array_equal(layer(x).data, layer(x.astype(np.float32)).data)


def test_wrong_input_is_an_error_that_names_the_op() -> None:
    with pytest.raises(ShapeError, match=r"linear: weight must be \(2, 4\) to match x \(1, 4\); got \(2, 3\)"):
        nn.Linear(3, 2)(np.ones((1, 4), np.float32))
    with pytest.raises(IdRangeError, match=r"embedding: ids must be in \[0, 3\); got 3 at position \(0, 1\)"):
        nn.Embedding(3, 2)([[0, 3]])
    with pytest.raises(IdRangeError, match="got -1"):
        nn.Embedding(3, 2)([-1])
    with pytest.raises(DTypeError, match="embedding: ids must be integers; got float32"):
        nn.Embedding(3, 2)([0.5])
    with pytest.raises(ShapeError, match="rectangular"):
        nn.Embedding(3, 2)([[0, 1], [2]])
    with pytest.raises(ShapeError, match="layer_norm"):
        nn.LayerNorm(3)(np.ones((2, 4), np.float32))
