"""The global norm and clipping by it."""

import math

import numpy as np
import pytest

from tinygrad_llm import Tensor
from tinygrad_llm.errors import AnomalyError, ConfigError
from tinygrad_llm.optim import clip_grad_norm_, grad_norm


def with_grad(grad: np.ndarray) -> Tensor:
    weight = Tensor(np.zeros(grad.shape, grad.dtype), requires_grad=True)
    weight.grad = grad
    return weight


def test_the_books_example() -> None:
    weight = with_grad(np.array([[1, 2], [2, 4]], np.float32))
    assert clip_grad_norm_([weight], max_norm=1.0) == 5.0
    np.testing.assert_allclose(weight.grad, [[0.2, 0.4], [0.4, 0.8]], rtol=1e-6)


def test_one_factor_for_all_as_in_pytorch() -> None:
    grads = [np.array([[1, 2], [2, 4]], np.float32), np.array([12], np.float32)]
    weights = [with_grad(grad) for grad in grads]
    assert clip_grad_norm_(iter(weights), 1.0) == 13.0
    # Made with torch.nn.utils.clip_grad_norm_ (2.13).
    np.testing.assert_allclose(weights[0].grad, [[0.0769230723, 0.1538461447], [0.1538461447, 0.3076922894]], rtol=2e-7)
    np.testing.assert_allclose(weights[1].grad, [0.9230768681], rtol=2e-7)
    assert weights[0].grad is grads[0]


def test_below_the_limit_nothing_changes() -> None:
    weight = with_grad(np.array([3.0, 4.0]))
    assert clip_grad_norm_(weight, 5.1) == 5.0
    assert clip_grad_norm_(weight, math.inf) == 5.0
    assert weight.grad.tolist() == [3.0, 4.0]


def test_shared_weights_count_and_shrink_once() -> None:
    weight = with_grad(np.array([3.0, 4.0]))
    assert clip_grad_norm_([weight, weight], 2.5) == 5.0
    np.testing.assert_allclose(weight.grad, [1.5, 2.0], rtol=1e-6)


def test_no_gradients_is_zero() -> None:
    assert grad_norm([Tensor([1.0], requires_grad=True)]) == 0.0
    assert grad_norm([]) == 0.0
    assert clip_grad_norm_([with_grad(np.zeros((0, 2), np.float32)), with_grad(np.zeros(3))], 1.0) == 0.0


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("magnitude", [1e-30, 1e-20, 1.0, 1e20, 1e30])
def test_no_overflow_and_no_underflow(dtype: type, magnitude: float) -> None:
    grad = np.full((10, 10), magnitude, dtype)
    assert grad_norm(with_grad(grad)) == pytest.approx(10 * magnitude, rel=1e-6)


def test_extremes_of_float64() -> None:
    assert grad_norm(with_grad(np.full(4, 1e300))) == pytest.approx(2e300)
    assert grad_norm(with_grad(np.full(4, 1e-300))) == pytest.approx(2e-300)


def test_large_float32_arrays_lose_no_digits() -> None:
    grad = np.random.default_rng(0).standard_normal((1500, 2000), dtype=np.float32) * np.float32(0.02)
    expected = math.sqrt(np.square(grad, dtype=np.float64).sum())
    assert grad_norm(with_grad(grad)) == pytest.approx(expected, rel=1e-7)
    assert grad_norm(with_grad(np.asfortranarray(grad))) == pytest.approx(expected, rel=1e-7)
    assert grad_norm(with_grad(grad[:, ::2])) == pytest.approx(
        math.sqrt(np.square(grad[:, ::2], dtype=np.float64).sum()), rel=1e-7
    )


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("position", [0, 1])
def test_what_is_not_finite_is_returned_and_nothing_touched(bad: float, position: int) -> None:
    grads = [np.full(3, 100, np.float32), np.full(2, 100, np.float32)]
    grads[position][1] = bad
    before = [grad.copy() for grad in grads]
    norm = clip_grad_norm_([with_grad(grad) for grad in grads], 1.0)
    assert math.isnan(norm) if math.isnan(bad) else norm == math.inf
    for grad, old in zip(grads, before, strict=True):
        np.testing.assert_array_equal(grad, old)


@pytest.mark.parametrize("max_norm", [-1.0, math.nan, "1", None, True])
def test_a_limit_that_is_none(max_norm: bool | float | str | None) -> None:
    with pytest.raises(ConfigError, match="max_norm"):
        clip_grad_norm_([with_grad(np.ones(1))], max_norm)


def test_what_is_no_tensor() -> None:
    with pytest.raises(ConfigError, match="must be Tensors; got ndarray"):
        grad_norm([np.ones(2)])
    with pytest.raises(ConfigError, match="must be Tensors; got str"):
        clip_grad_norm_(["weight"], 1.0)


@pytest.mark.parametrize("norm_type", [1.0, 2.0, 3.0, math.inf])
@pytest.mark.parametrize("max_norm", [0.5, 100.0])
def test_other_norms_equal_pytorchs(norm_type: float, max_norm: float) -> None:
    torch = pytest.importorskip("torch")
    gradients = [np.array([1.0, -2.0, 3.0]), np.array([[4.0, 0.5]])]
    ours = [Tensor(np.zeros_like(g), requires_grad=True) for g in gradients]
    theirs = [torch.zeros(g.shape, dtype=torch.float64, requires_grad=True) for g in gradients]
    for one, other, gradient in zip(ours, theirs, gradients, strict=True):
        one.grad, other.grad = gradient.copy(), torch.tensor(gradient)
    norm = clip_grad_norm_(ours, max_norm, norm_type=norm_type)
    assert norm == pytest.approx(float(torch.nn.utils.clip_grad_norm_(theirs, max_norm, norm_type)), abs=1e-12)
    for one, other in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(one.grad, other.grad.numpy(), rtol=0, atol=1e-12)


@pytest.mark.parametrize("norm_type", [1.0, 2.0, math.inf])
def test_a_norm_that_is_not_finite_is_an_error_where_asked(norm_type: float) -> None:
    weight = Tensor(np.zeros(2), requires_grad=True)
    weight.grad = np.array([1.0, np.nan])
    assert math.isnan(clip_grad_norm_(weight, 1.0, norm_type))
    with pytest.raises(AnomalyError, match="must be finite; got nan"):
        clip_grad_norm_(weight, 1.0, norm_type, error_if_nonfinite=True)
    np.testing.assert_array_equal(weight.grad, [1.0, np.nan])


@pytest.mark.parametrize(("norm_type", "norm"), [(1, 7.0), (2, 5.0), (3, 91 ** (1 / 3)), (math.inf, 4.0)])
def test_the_kind_of_norm(norm_type: float, norm: float) -> None:
    weight = Tensor([0.0, 0.0], requires_grad=True)
    weight.grad = np.array([3.0, -4.0])
    assert clip_grad_norm_([weight], 1.0, norm_type) == pytest.approx(norm)
    np.testing.assert_allclose(weight.grad, np.array([3.0, -4.0]) / norm, rtol=1e-6)


@pytest.mark.parametrize("norm_type", [1, 2, math.inf])
def test_small_and_missing_gradients_have_small_norms(norm_type: float) -> None:
    weight = Tensor([0.0], requires_grad=True)
    assert clip_grad_norm_([weight], 1.0, norm_type) == 0.0
    weight.grad = np.array([0.25])
    assert clip_grad_norm_([weight], 1.0, norm_type) == 0.25


def test_the_factor_is_pytorchs_for_tiny_norms_too() -> None:
    weight = Tensor([0.0], requires_grad=True)
    weight.grad = np.array([5e-6])
    clip_grad_norm_([weight], 1e-6)
    np.testing.assert_allclose(weight.grad, 5e-6 * 1e-6 / (5e-6 + 1e-6))


@pytest.mark.parametrize("norm_type", [1.0, 3.0, math.inf])
def test_other_norms_are_summed_in_float64(norm_type: float) -> None:
    weight = with_grad(np.array([3e20, 0.0], np.float32))
    assert clip_grad_norm_([weight], math.inf, norm_type) == pytest.approx(3e20, rel=1e-6)


def test_the_norm_types_limit() -> None:
    weight = with_grad(np.array([2.0, 0.0], np.float32))
    assert clip_grad_norm_([weight], math.inf, norm_type=1e-3) == pytest.approx(2.0)
    with pytest.raises(ConfigError, match=r"norm_type must be a number, at least 0\.001 "):
        clip_grad_norm_([weight], math.inf, norm_type=5e-4)
