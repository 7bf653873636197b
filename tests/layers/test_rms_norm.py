"""RMSNorm with a scale around 0 and around 1."""

import numpy as np
from layer_checks import every_gradient_of, randn

from tinygrad_llm import nn


def test_a_scale_around_one() -> None:
    plain, around = nn.RMSNorm(3).to(np.float64), nn.RMSNorm(3, around_one=True).to(np.float64)
    x = randn(2, 3)
    np.testing.assert_array_equal(plain(x).data, around(x).data)
    plain.weight.data[...], around.weight.data[...] = [2, 1, 0.5], [1, 0, -0.5]
    np.testing.assert_array_equal(plain(x).data, around(x).data)
    assert every_gradient_of(around, x)
