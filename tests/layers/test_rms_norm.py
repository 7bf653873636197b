"""RMSNorm with a scale around 0 and around 1, and over all heads of a token."""

import numpy as np
from layer_checks import every_gradient_of, randn

from tinygrad_llm import Tensor, nn


def test_a_scale_around_one() -> None:
    plain, around = nn.RMSNorm(3).to(np.float64), nn.RMSNorm(3, around_one=True).to(np.float64)
    x = randn(2, 3)
    np.testing.assert_array_equal(plain(x).data, around(x).data)
    plain.weight.data[...], around.weight.data[...] = [2, 1, 0.5], [1, 0, -0.5]
    np.testing.assert_array_equal(plain(x).data, around(x).data)
    assert every_gradient_of(around, x)


def test_all_heads_of_a_token_are_normalised_together() -> None:
    joint = nn.HeadsRMSNorm(6, 1e-3).to(np.float64)
    joint.weight.data[...] = randn(6, seed=2)
    x = randn(2, 3, 4, 2)  # (B, H, T, D)
    tokens = x.transpose(0, 2, 1, 3).reshape(2, 4, 6)
    expected = tokens / np.sqrt((tokens**2).mean(-1, keepdims=True) + 1e-3) * joint.weight.data
    np.testing.assert_allclose(joint(Tensor(x)).data, expected.reshape(2, 4, 3, 2).transpose(0, 2, 1, 3), rtol=1e-12)
    assert every_gradient_of(joint, x)
