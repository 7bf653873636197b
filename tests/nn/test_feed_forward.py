"""The feed-forward layer, with and without a gate."""

import numpy as np
from layer_checks import every_gradient_of, randn

from tinygrad_llm import Generator, manual_seed, nn
from tinygrad_llm.nn import functional as F


def test_hidden_width_and_activation_have_defaults_and_can_be_chosen() -> None:
    layer = nn.FeedForward(6)
    assert layer.up.weight.shape == (24, 6)
    assert layer.down.weight.shape == (6, 24)
    assert layer.activation.approximate == "tanh"
    x = Generator(0).randn(2, 6)
    np.testing.assert_array_equal(layer(x).data, layer.down(F.gelu(layer.up(x), "tanh")).data)
    other = nn.FeedForward(6, hidden_dim=5, activation=nn.ReLU())
    assert other.up.weight.shape == (5, 6)
    np.testing.assert_array_equal(other(x).data, other.down(other.up(x).relu()).data)


def test_the_activated_gate_multiplies_the_other_branch() -> None:
    manual_seed(0)
    layer = nn.FeedForward(4, 6, nn.SiLU(), bias=False, gated=True).to(np.float64)
    x = randn(3, 4)
    gate, up = x @ layer.gate.weight.data.T, x @ layer.up.weight.data.T
    expected = (gate / (1 + np.exp(-gate)) * up) @ layer.down.weight.data.T
    np.testing.assert_allclose(layer(x).data, expected, atol=1e-12)
    assert [name for name, _ in layer.named_parameters()] == ["gate.weight", "up.weight", "down.weight"]
    assert every_gradient_of(layer, randn(2, 3, 4))


def test_gated_and_plain_have_about_as_many_parameters() -> None:
    assert nn.FeedForward(768, bias=False).num_parameters() == 8 * 768**2
    assert nn.FeedForward(768, bias=False, gated=True).num_parameters() == 8 * 768**2
    assert nn.FeedForward(5, gated=True).up.out_features == 16
