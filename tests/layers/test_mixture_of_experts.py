"""Mixture of experts: routing, gates, the load-balancing loss."""

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from layer_checks import every_gradient_of, randn

from tinygrad_llm import Tensor, gradcheck, manual_seed, nn
from tinygrad_llm.errors import ConfigError, GraphError
from tinygrad_llm.layers.mixture_of_experts import MixtureOfExperts


def experts(count: int = 4, used: int = 2, **options: Any) -> Any:
    manual_seed(0)
    return MixtureOfExperts(3, count, used, lambda: nn.FeedForward(3, 5, nn.SiLU(), gated=True), **options).to(
        np.float64
    )


@settings(deadline=None)
@given(
    count=st.integers(1, 5), data=st.data(), tokens=st.integers(0, 6), normalize=st.sampled_from([None, True, False])
)
def test_every_token_is_the_mixture_of_its_experts(count: int, data: Any, tokens: int, normalize: Any) -> None:
    used = data.draw(st.integers(1, count))
    layer, x = experts(count, used, normalize_gates=normalize), randn(2, tokens, 3)
    y = layer(x).data
    assert y.shape == x.shape
    for token, got in zip(x.reshape(-1, 3), y.reshape(-1, 3), strict=True):
        scores = np.exp(layer.router.weight.data @ token)
        p = scores / scores.sum()
        best = np.argsort(-p)[:used]
        gates = p[best] / (p[best].sum() if normalize or (used > 1 and normalize is None) else 1)
        expected = sum(gate * layer.experts[int(e)](token).data for gate, e in zip(gates, best, strict=True))
        np.testing.assert_allclose(got, expected, atol=1e-12)


@pytest.mark.parametrize("used", [1, 2, 4])
def test_every_gradient_of_experts_and_through_the_router(used: int) -> None:
    layer, x = experts(used=used), randn(2, 3, 3)
    assert every_gradient_of(layer, x)
    layer(Tensor(x)).sum().backward()
    assert np.abs(layer.router.weight.grad).max() > 1e-4


def test_every_gradient_of_the_balance() -> None:
    layer, x = experts(balance=3.0), Tensor(randn(7, 3), requires_grad=True)

    def balance(x: Any) -> Any:
        layer(x)
        return layer.balance_loss()

    assert gradcheck(balance, [x], parameters={"router": layer.router.weight}).ok


def test_the_balance_loss_is_smallest_for_even_use() -> None:
    layer = experts(balance=0.5)
    with pytest.raises(GraphError, match="a forward in training mode first"):
        layer.balance_loss()
    layer.router.weight.data[...] = 0
    layer(Tensor(randn(8, 3)))
    assert math.isclose(float(layer.balance_loss().data), 0.5 * 2)  # all are as likely: whoever is chosen
    with pytest.raises(GraphError):
        layer.balance_loss()
    layer.router.weight.data[:2] = 50  # two experts take everything
    layer(Tensor(np.abs(randn(8, 3))))
    assert math.isclose(float(layer.balance_loss().data), 0.5 * 4, rel_tol=1e-6)
    layer.eval()(Tensor(randn(8, 3)))
    with pytest.raises(GraphError):
        layer.balance_loss()


def test_invalid_sizes_are_refused() -> None:
    with pytest.raises(ConfigError, match="at most num_experts, 4; got 5"):
        experts(used=5)
    with pytest.raises(ConfigError, match="num_experts must be"):
        experts(0, 1)


def test_parameters_of_the_book_s_estimator_of_experts() -> None:
    def expert() -> Any:
        return nn.FeedForward(7168, 1792, nn.SiLU(), bias=False, gated=True)

    with nn.init.no_initial_values():
        dense = nn.FeedForward(7168, 14336, nn.SiLU(), bias=False, gated=True)
        sparse = MixtureOfExperts(7168, 8, 2, expert)
        assert dense.num_parameters() == 308_281_344
        assert sparse.experts[0].num_parameters() == 38_535_168
        assert sparse.router.num_parameters() == 57_344
        assert sparse.num_parameters() == 308_338_688
        assert sparse.num_active_parameters() == 77_127_680
