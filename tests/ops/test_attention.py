"""Attention: the book's figures, who sees whom, queries that see nothing, and scores of any size."""

import math
from typing import Any

import numpy as np
import pytest

from tinygrad_llm import Tensor, no_grad
from tinygrad_llm.errors import ConfigError, DTypeError, GraphError, ShapeError
from tinygrad_llm.ops import FUSED, attention_tiles, attention_weights, scaled_dot_product_attention
from tinygrad_llm.ops.attention import visible_keys

OP = "scaled_dot_product_attention"
both_sides = pytest.mark.parametrize("side", ["fused", "composed"])
BOOK = np.array(
    [
        [0.43, 0.15, 0.89],
        [0.55, 0.87, 0.66],
        [0.57, 0.85, 0.64],
        [0.22, 0.58, 0.33],
        [0.77, 0.25, 0.10],
        [0.05, 0.80, 0.55],
    ],
    np.float32,
)


def normal(*shape: int) -> np.ndarray:
    return np.random.default_rng([5, *shape]).normal(size=shape)


def straight(
    q: np.ndarray, k: np.ndarray, v: np.ndarray, visible: np.ndarray | None = None, added: float | np.ndarray = 0.0
) -> np.ndarray:
    """Each query on its own, in plain loops over the heads."""
    out = np.zeros((*q.shape[:-1], v.shape[-1]))
    share = q.shape[0] // k.shape[0]
    for head in range(q.shape[0]):
        for t in range(q.shape[1]):
            seen = np.ones(k.shape[1], bool) if visible is None else visible[t]
            if seen.any():
                scores = k[head // share] @ q[head, t] / math.sqrt(q.shape[-1])
                powers = np.where(seen, np.exp(scores + (added[t] if np.ndim(added) else added)), 0)
                out[head, t] = powers @ v[head // share] / powers.sum()
    return out


@both_sides
def test_the_books_context_vector(side: str) -> None:
    x = Tensor(BOOK)
    context = getattr(FUSED[OP], side)(x, x, x, scale=1.0)
    assert context.dtype == np.float32
    np.testing.assert_allclose(context.data[1], [0.4419, 0.6515, 0.5683], atol=6e-5)
    weights = attention_weights(x, x, scale=1.0)
    np.testing.assert_allclose(weights.data[1], [0.1385, 0.2379, 0.2333, 0.1240, 0.1082, 0.1581], atol=6e-5)


@both_sides
def test_against_plain_loops(side: str) -> None:
    op = getattr(FUSED[OP], side)
    q, k, v = normal(4, 3, 5), normal(2, 6, 5), normal(2, 6, 2)
    tensors = [Tensor(x) for x in (q, k, v)]
    np.testing.assert_allclose(op(*tensors).data, straight(q, k, v), rtol=1e-12)
    cached = np.arange(6) <= np.arange(3)[:, None] + 3  # three earlier keys: the last query sees all
    np.testing.assert_allclose(op(*tensors, is_causal=True).data, straight(q, k, v, cached), rtol=1e-12)
    mask = normal(3, 6) > 0
    np.testing.assert_allclose(op(*tensors, attn_mask=mask).data, straight(q, k, v, mask), rtol=1e-12)
    np.testing.assert_allclose(op(*tensors, mask, is_causal=True).data, straight(q, k, v, mask & cached), rtol=1e-12)
    bias = normal(3, 6)
    np.testing.assert_allclose(op(*tensors, attn_mask=bias).data, straight(q, k, v, None, bias), rtol=1e-12)


@both_sides
def test_a_softcap_bounds_the_scores_before_the_mask(side: str) -> None:
    op = getattr(FUSED[OP], side)
    q, k, v = 3 * normal(2, 3, 5), 3 * normal(2, 6, 5), normal(2, 6, 2)
    bias = 9 * normal(3, 6)
    scores = 2.0 * np.tanh(q @ k.swapaxes(1, 2) * 0.7 / 2.0)
    powers = np.exp(scores + bias)
    weights = powers / powers.sum(-1, keepdims=True)
    tensors = [Tensor(x) for x in (q, k, v)]
    capped = op(*tensors, attn_mask=bias, scale=0.7, softcap=2.0).data
    np.testing.assert_allclose(capped, weights @ v, rtol=1e-12)
    np.testing.assert_allclose(attention_weights(*tensors[:2], bias, scale=0.7, softcap=2.0).data, weights, rtol=1e-12)
    assert np.abs(op(*tensors, attn_mask=bias, scale=0.7).data - capped).max() > 0.1
    for wrong in (0.0, -1.0, math.inf, math.nan):
        with pytest.raises(ConfigError, match="softcap must be a finite number above 0; got"):
            op(*tensors, softcap=wrong)


def test_the_weights_are_those_that_are_used() -> None:
    q, k, v = (Tensor(normal(2, 4, 5)) for _ in range(3))
    used = scaled_dot_product_attention(q, k, v, is_causal=True)
    weights = attention_weights(q, k, is_causal=True)
    np.testing.assert_allclose((weights @ v).data, used.data, rtol=1e-12)
    np.testing.assert_allclose(weights.data.sum(-1), 1, rtol=1e-14)
    np.testing.assert_array_equal(np.triu(weights.data, 1), 0)


def test_who_sees_whom() -> None:
    assert visible_keys(3, 3, None, False) is None
    np.testing.assert_array_equal(visible_keys(3, 3, None, True), np.tri(3) > 0)
    np.testing.assert_array_equal(visible_keys(2, 4, None, True), [[1, 1, 1, 0], [1, 1, 1, 1]])
    np.testing.assert_array_equal(visible_keys(3, 2, None, True), [[0, 0], [1, 0], [1, 1]])
    both = visible_keys(2, 2, Tensor(np.array([False, True])), True)
    np.testing.assert_array_equal(both, [[False, False], [False, True]])
    assert visible_keys(2, 2, Tensor(np.zeros((2, 2))), False) is None  # an added mask hides nothing by itself


@both_sides
def test_the_future_has_no_influence_and_gets_no_gradient(side: str) -> None:
    op = getattr(FUSED[OP], side)
    q, k, v = (normal(1, 2, 5, 3) + i for i in range(3))
    before = op(Tensor(q), Tensor(k), Tensor(v), is_causal=True).data
    keys, values = Tensor(k, requires_grad=True), Tensor(v, requires_grad=True)
    op(Tensor(q), keys, values, is_causal=True)[:, :, :3].sum().backward()
    assert not keys.grad[:, :, 3:].any()
    assert not values.grad[:, :, 3:].any()
    k[:, :, 3:] = v[:, :, 3:] = 1e3
    after = op(Tensor(q), Tensor(k), Tensor(v), is_causal=True).data
    np.testing.assert_allclose(after[:, :, :3], before[:, :, :3], rtol=1e-13)


@both_sides
@pytest.mark.parametrize("dropout_p", [0.0, 0.5])
@pytest.mark.parametrize("hide", ["boolean", "added", "causal"])
def test_a_query_with_all_keys_masked_gives_zero_and_no_gradient(hide: str, dropout_p: float, side: str) -> None:
    keys = 2 if hide == "causal" else 3  # with more queries than keys, the first sees none
    q, k, v = (Tensor(normal(2, n, 4).astype(np.float32), requires_grad=True) for n in (3, keys, keys))
    visible = np.ones((3, 3), bool)
    visible[0] = False
    options = {
        "boolean": {"attn_mask": visible},
        "added": {"attn_mask": np.where(visible, 0, -np.inf).astype(np.float32)},
        "causal": {"is_causal": True},
    }[hide]
    o = getattr(FUSED[OP], side)(q, k, v, dropout_p=dropout_p, **options)
    o.sum().backward()
    np.testing.assert_array_equal(o.data[:, 0], 0)
    np.testing.assert_array_equal(q.grad[:, 0], 0)
    assert all(np.isfinite(x.grad).all() for x in (q, k, v))
    weights = attention_weights(q, k, **options)
    np.testing.assert_array_equal(weights.data[:, 0], 0)


@both_sides
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_row_that_the_lowest_number_hides_is_an_even_mean(dtype: type, side: str) -> None:
    """As masks of other libraries are written: finite, so hidden keys count again where all are hidden."""
    q, k, v = (Tensor(normal(2, 3, 4).astype(dtype)) for _ in range(3))
    mask = np.full((3, 3), np.finfo(dtype).min, dtype)
    o = getattr(FUSED[OP], side)(q, k, v, attn_mask=mask)
    np.testing.assert_allclose(o.data, np.broadcast_to(v.data.mean(-2, keepdims=True), o.shape), rtol=1e-6, atol=1e-7)


@both_sides
@pytest.mark.parametrize("size", [30.0, 1e4])
def test_large_scores_neither_overflow_nor_lose_digits(size: float, side: str) -> None:
    q = np.array([[[size, 0.0]]], np.float32)
    k = np.array([[[size, 0.0], [size, 1.0], [-size, 0.0]]], np.float32)
    v = np.array([[[1.0], [3.0], [100.0]]], np.float32)
    tensors = [Tensor(x, requires_grad=True) for x in (q, k, v)]
    o = getattr(FUSED[OP], side)(*tensors)
    o.backward(np.ones((1, 1, 1), np.float32))
    np.testing.assert_allclose(o.data, [[[2.0]]], rtol=1e-6)  # two keys alike, and one far away
    np.testing.assert_allclose(tensors[2].grad, [[[0.5], [0.5], [0.0]]], rtol=1e-6)
    assert all(np.isfinite(x.grad).all() for x in tensors)


@both_sides
def test_a_mask_of_float64_does_not_spread(side: str) -> None:
    q, k, v = (Tensor(normal(2, 3, 4).astype(np.float32), requires_grad=True) for _ in range(3))
    mask = np.triu(np.full((3, 3), -np.inf), 1)
    o = getattr(FUSED[OP], side)(q, k, v, attn_mask=mask)
    assert o.dtype == np.float32
    assert attention_weights(q, k, mask).dtype == np.float32
    np.testing.assert_allclose(o.data, getattr(FUSED[OP], side)(q, k, v, is_causal=True).data, rtol=1e-6)


def test_dropout_keeps_the_mean_of_the_weights() -> None:
    q, k = Tensor(np.zeros((1, 100, 2))), Tensor(np.zeros((1, 100, 2)))
    o = scaled_dot_product_attention(q, k, Tensor(np.ones((1, 100, 1))), dropout_p=0.25).data
    assert abs(o.mean() - 1) < 4 * math.sqrt(0.25 / 0.75 / 10_000)
    assert o.std() > 0.01


@both_sides
@pytest.mark.parametrize(
    ("q", "k", "v", "message"),
    [
        ((4,), (3, 4), (3, 4), r"must be \(\.\.\., H, T, D\); got query \(4,\), key \(3, 4\), value \(3, 4\)"),
        ((2, 4), (3, 5), (3, 5), "query and key must share D"),
        ((2, 4), (3, 4), (2, 4), "key and value their length"),
        ((2, 0), (3, 0), (3, 4), "D must be at least 1"),
        ((4, 2, 4), (3, 3, 4), (3, 3, 4), "query's heads must be a multiple"),
        ((2, 2, 4), (4, 3, 4), (4, 3, 4), "query's heads must be a multiple"),
        ((2, 2, 4), (2, 3, 4), (0, 3, 4), "query's heads must be a multiple"),
        ((2, 1, 2, 4), (3, 1, 3, 4), (3, 1, 3, 4), "the axes before the heads must broadcast"),
    ],
)
def test_shapes_that_do_not_fit(
    q: tuple[Any, ...], k: tuple[Any, ...], v: tuple[Any, ...], message: str, side: str
) -> None:
    with pytest.raises(ShapeError, match=f"{OP}: .*{message}"):
        getattr(FUSED[OP], side)(*(Tensor(np.ones(shape)) for shape in (q, k, v)))


@both_sides
@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"attn_mask": np.ones((2, 3), int)}, DTypeError, r"attn_mask must be boolean.*or float.*got int64"),
        ({"attn_mask": np.ones((3, 2), bool)}, ShapeError, r"attn_mask must broadcast to \(1, 2, 3\); got \(3, 2\)"),
        ({"attn_mask": np.ones((4, 2, 3))}, ShapeError, r"attn_mask must broadcast to \(1, 2, 3\); got \(4, 2, 3\)"),
        ({"dropout_p": 1.5}, ConfigError, r"dropout_p must be a probability in \[0, 1\]; got 1.5"),
        ({"dropout_p": math.nan}, ConfigError, "dropout_p must be a probability"),
        ({"scale": math.nan}, ConfigError, "scale must be a finite number; got nan"),
    ],
)
def test_settings_that_do_not_fit(options: dict[str, np.ndarray], error: type, message: str, side: str) -> None:
    q, k = Tensor(np.ones((1, 2, 4))), Tensor(np.ones((1, 3, 4)))
    with pytest.raises(error, match=f"{OP}: {message}"):
        getattr(FUSED[OP], side)(q, k, k, **options)


def test_a_query_of_two_axes_is_one_head() -> None:
    query, keys = Tensor(np.ones((3, 4))), Tensor(np.ones((2, 3, 4)))
    with pytest.raises(ShapeError, match="multiple of the key's"):
        scaled_dot_product_attention(query, keys, keys)


def test_queries_without_a_key_give_zeros_under_a_float_mask() -> None:
    query, nothing = Tensor(np.full((2, 3), 1e3)), Tensor(np.ones((0, 3)))
    out = scaled_dot_product_attention(query, nothing, nothing, attn_mask=Tensor(np.zeros((2, 0))))
    assert out.data.tolist() == [[0.0] * 3] * 2


def test_a_mask_is_needed_for_backward_only_where_the_weights_are_computed_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def gradient(write: bool) -> np.ndarray:
        q, mask = Tensor(normal(2, 5, 4), requires_grad=True), Tensor(np.zeros((5, 5)))
        y = scaled_dot_product_attention(q, q, q, attn_mask=mask)
        if write:
            mask[...] = -math.inf
        y.sum().backward()
        return q.grad

    np.testing.assert_array_equal(gradient(True), gradient(False))
    monkeypatch.setattr(attention_tiles, "KEPT_KEYS", 4)
    gradient(False)
    with pytest.raises(GraphError, match="scaled_dot_product_attention"):
        gradient(True)


def test_weights_are_kept_only_for_a_backward(monkeypatch: pytest.MonkeyPatch) -> None:
    kept = []
    forward = attention_tiles.forward_tiles
    monkeypatch.setattr(
        "tinygrad_llm.ops.attention.forward_tiles", lambda *given: kept.append(forward(*given)) or kept[-1]
    )
    q = Tensor(normal(2, 5, 4), requires_grad=True)
    scaled_dot_product_attention(q, q, q)
    with no_grad():
        scaled_dot_product_attention(q, q, q)
    scaled_dot_product_attention(q.detach(), q.detach(), q.detach())
    monkeypatch.setattr(attention_tiles, "KEPT_KEYS", 4)
    scaled_dot_product_attention(q, q, q)
    assert [len(weights) for _, weights in kept] == [1, 0, 0, 0]
