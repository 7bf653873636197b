"""The loss: the book's figures, targets that count for nothing, scores of any size, and one matrix only."""

import math
import sys
import tracemalloc
from typing import Any

import numpy as np
import pytest

from tinygrad_llm import Tensor, buffers, no_grad
from tinygrad_llm.errors import ConfigError, DTypeError, IdRangeError, ShapeError
from tinygrad_llm.ops import FUSED, cross_entropy, linear_cross_entropy

both_sides = pytest.mark.parametrize("side", ["fused", "composed"])
BOOK = [[-1.0, 1.0], [-0.5, 1.5], [-0.5, 1.5]]


@both_sides
@pytest.mark.parametrize(
    ("rows", "targets", "loss"), [(2, [0, 1], 1.1269), (3, [0, 1, 1], 0.7936), (3, [0, 1, -100], 1.1269)]
)
def test_the_books_figures(rows: int, targets: list[int], loss: float, side: str) -> None:
    got = getattr(FUSED["cross_entropy"], side)(Tensor(BOOK[:rows]), Tensor(targets))
    assert got.shape == ()
    assert got.dtype == np.float32
    assert round(got.item(), 4) == loss
    identity = Tensor(np.eye(2, dtype=np.float32))
    got = getattr(FUSED["linear_cross_entropy"], side)(Tensor(BOOK[:rows]), identity, targets)
    assert round(got.item(), 4) == loss


@both_sides
@pytest.mark.parametrize("smoothing", [0.0, 0.1, 1.0])
def test_against_the_formula(smoothing: float, side: str) -> None:
    numbers = np.random.default_rng(0)
    x, targets = numbers.normal(size=(2, 3, 5)), numbers.integers(5, size=(2, 3))
    log_p = np.log(np.exp(x) / np.exp(x).sum(-1, keepdims=True))
    wanted = (1 - smoothing) * np.eye(5)[targets] + smoothing / 5
    each = -(wanted * log_p).sum(-1)
    for reduction, expected in {"none": each, "sum": each.sum(), "mean": each.mean()}.items():
        logits = Tensor(x, requires_grad=True)
        loss = getattr(FUSED["cross_entropy"], side)(logits, targets, label_smoothing=smoothing, reduction=reduction)
        np.testing.assert_allclose(loss.data, expected, rtol=1e-12)
        loss.sum().backward()
        count = 6 if reduction == "mean" else 1
        np.testing.assert_allclose(logits.grad, (np.exp(log_p) - wanted) / count, rtol=1e-11, atol=1e-15)


@both_sides
def test_uniform_scores_surprise_by_the_logarithm_of_the_classes(side: str) -> None:
    loss = getattr(FUSED["cross_entropy"], side)(Tensor(np.zeros((3, 50257), np.float32)), [0, 1, 50256])
    assert loss.item() == pytest.approx(math.log(50257), rel=1e-6)


FORMS = {
    "list": [1, 4, -100],
    "int32": np.array([1, 4, -100], np.int32),
    "strided": np.array([1, 9, 4, 9, -100, 9])[::2],
    "Tensor": Tensor([1, 4, -100]),
}


@both_sides
@pytest.mark.parametrize("form", FORMS)
def test_every_form_of_targets(form: str, side: str) -> None:
    x = np.random.default_rng(1).normal(size=(3, 5))
    got = getattr(FUSED["cross_entropy"], side)(Tensor(x), FORMS[form]).item()
    assert got == pytest.approx(np.mean(np.log(np.exp(x[:2]).sum(-1)) - x[[0, 1], [1, 4]]))


# -- targets that count for nothing


@both_sides
@pytest.mark.parametrize("rubbish", [0.0, np.nan, -np.inf])
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
def test_ignored_rows_have_no_effect_whatever_their_values(
    rubbish: float, smoothing: float, reduction: str, side: str
) -> None:
    x = np.array([[1.0, 2.0, 3.0], [3.0, 1.0, 2.0], [0.0, 0.0, 0.0]], np.float32)
    clean = Tensor(x[:2], requires_grad=True)
    options = {"label_smoothing": smoothing, "reduction": reduction}
    expected = getattr(FUSED["cross_entropy"], side)(clean, [0, 2], **options)
    expected.sum().backward()
    x[2] = [rubbish, 1, rubbish]
    dirty = Tensor(x, requires_grad=True)
    loss = getattr(FUSED["cross_entropy"], side)(dirty, [0, 2, -100], **options)
    loss.sum().backward()
    np.testing.assert_allclose(loss.data[:2] if reduction == "none" else loss.data, expected.data, rtol=1e-6)
    np.testing.assert_allclose(dirty.grad, [*clean.grad, [0, 0, 0]], rtol=1e-6)


@both_sides
@pytest.mark.parametrize("rubbish", [0.0, np.nan])
@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
def test_all_ignored_is_a_loss_of_zero(rubbish: float, reduction: str, side: str) -> None:
    x = Tensor(np.full((2, 3), rubbish, np.float32), requires_grad=True)
    loss = getattr(FUSED["cross_entropy"], side)(x, [-100, -100], reduction=reduction)
    loss.sum().backward()
    np.testing.assert_array_equal(loss.data, np.zeros(2 if reduction == "none" else ()))
    np.testing.assert_array_equal(x.grad, np.zeros((2, 3)))


@both_sides
def test_all_ignored_gives_no_gradient_to_the_head_either(side: str) -> None:
    x, weight = Tensor(np.ones((2, 4)), requires_grad=True), Tensor(np.ones((3, 4)), requires_grad=True)
    loss = getattr(FUSED["linear_cross_entropy"], side)(x, weight, [-100, -100])
    loss.backward()
    assert loss.item() == 0
    np.testing.assert_array_equal(x.grad, np.zeros((2, 4)))
    np.testing.assert_array_equal(weight.grad, np.zeros((3, 4)))


@both_sides
def test_another_ignore_index(side: str) -> None:
    x = Tensor(np.random.default_rng(2).normal(size=(3, 4)))
    op = getattr(FUSED["cross_entropy"], side)
    assert op(x, [1, 50256, 2], ignore_index=50256).item() == op(x, [1, -100, 2]).item()
    with pytest.raises(IdRangeError, match="got -100"):
        op(x, [1, -100, 2], ignore_index=50256)


# -- scores of any size


@both_sides
def test_the_level_of_the_scores_costs_the_loss_no_digits(side: str) -> None:
    x = Tensor(np.array([[1e4, 1e4 + 1], [-1e4, -1e4 + 1]], np.float32), requires_grad=True)
    loss = getattr(FUSED["cross_entropy"], side)(x, [0, 1], reduction="none")
    np.testing.assert_allclose(loss.data, [math.log1p(math.e), math.log1p(1 / math.e)], rtol=1e-6)
    loss.sum().backward()
    p = 1 / (1 + math.e)
    np.testing.assert_allclose(x.grad, [[p - 1, 1 - p], [p, -p]], rtol=1e-3)  # the gradient keeps three


@both_sides
def test_a_confident_mistake_is_finite_and_an_impossible_class_is_not(side: str) -> None:
    op = getattr(FUSED["cross_entropy"], side)
    x = Tensor(np.array([[1e4, -1e4]], np.float32), requires_grad=True)
    loss = op(x, [1])
    loss.backward()
    assert loss.item() == 2e4
    np.testing.assert_array_equal(x.grad, [[1, -1]])
    masked = Tensor(np.array([[0.0, -np.inf, 0.0]]))
    assert op(masked, [2]).item() == pytest.approx(math.log(2))
    assert op(masked, [1]).item() == math.inf


# -- one copy of the (tokens, vocabulary) matrix


@pytest.mark.parametrize("recording", [True, False])
def test_the_matrix_of_tokens_and_vocabulary_is_there_once(recording: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    free_blocks: dict[int, Any] = {}  # in place of those that earlier tests left: what is in them was counted then
    monkeypatch.setattr(buffers, "_free", free_blocks)
    numbers = np.random.default_rng(3)
    x = Tensor(numbers.normal(size=(800, 8)).astype(np.float32), requires_grad=recording)
    weight = Tensor(numbers.normal(size=(2500, 8)).astype(np.float32), requires_grad=recording)
    targets = numbers.integers(2500, size=800)
    matrix = 800 * 2500 * 4
    tracemalloc.start()
    try:
        loss = linear_cross_entropy(x, weight, targets)
        free_blocks.clear()
        held = tracemalloc.get_traced_memory()[0]
        if recording:
            loss.backward()
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 1.2 * matrix
    assert held > 0.9 * matrix if recording else held < 0.01 * matrix


def test_the_gradient_is_not_prepared_under_no_grad(monkeypatch: pytest.MonkeyPatch) -> None:
    x, weight = Tensor(np.ones((3, 2)), requires_grad=True), Tensor(np.ones((5, 2)), requires_grad=True)
    expected = linear_cross_entropy(x, weight, [0, 1, 2]).item()
    file = sys.modules["tinygrad_llm.ops.cross_entropy"]  # the function of that name hides it from an import
    monkeypatch.delattr(file, "_exponentials_to_gradient")
    with no_grad():
        quiet = linear_cross_entropy(x, weight, [0, 1, 2])
    assert quiet.node is None
    assert quiet.item() == expected == pytest.approx(math.log(5))


def test_nothing_is_computed_for_an_operand_that_wants_no_gradient() -> None:
    x, weight = Tensor(np.ones((3, 2)), requires_grad=True), Tensor(np.ones((5, 2)), requires_grad=True)
    assert linear_cross_entropy(x, weight.detach(), [0, 1, 2]).node.backward(np.ones(()))[1] is None
    assert linear_cross_entropy(x.detach(), weight, [0, 1, 2]).node.backward(np.ones(()))[0] is None


# -- what does not fit


@both_sides
@pytest.mark.parametrize(
    ("targets", "options", "error", "message"),
    [
        ([0.0, 1.0], {}, DTypeError, "ids must be integers; got float32"),
        ([True, False], {}, DTypeError, "ids must be integers; got bool"),
        ([0, 3], {}, IdRangeError, r"ids must be in \[0, 3\); got 3 at position \(1,\)"),
        ([-1, 0], {}, IdRangeError, r"got -1 at position \(0,\)"),
        ([0], {}, ShapeError, r"targets must be \(2,\), one class for each row.*got \(1,\)"),
        ([[0, 1]], {}, ShapeError, r"targets must be \(2,\).*got \(1, 2\)"),
        (1, {}, ShapeError, r"targets must be \(2,\).*got \(\)"),
        ([0, 1], {"label_smoothing": 1.5}, ConfigError, r"label_smoothing must be a probability in \[0, 1\]; got 1.5"),
        ([0, 1], {"label_smoothing": math.nan}, ConfigError, "label_smoothing must be a probability"),
    ],
)
def test_targets_and_settings_that_do_not_fit(
    targets: list[Any], options: dict[str, Any], error: type, message: str, side: str
) -> None:
    with pytest.raises(error, match=f"cross_entropy: .*{message}"):
        getattr(FUSED["cross_entropy"], side)(Tensor(np.ones((2, 3))), targets, **options)
    x, weight = Tensor(np.ones((2, 4))), Tensor(np.ones((3, 4)))
    with pytest.raises(error, match=message):
        getattr(FUSED["linear_cross_entropy"], side)(x, weight, targets, **options)


@both_sides
def test_an_unknown_reduction(side: str) -> None:
    with pytest.raises(ConfigError, match='reduction must be "mean", "sum" or "none"; got \'average\''):
        getattr(FUSED["cross_entropy"], side)(Tensor(np.ones((2, 3))), [0, 1], reduction="average")


@both_sides
def test_scores_without_classes(side: str) -> None:
    with pytest.raises(ShapeError, match=r"at least one class; got logits of shape \(2, 0\)"):
        getattr(FUSED["cross_entropy"], side)(Tensor(np.ones((2, 0))), [-100, -100])
    with pytest.raises(ShapeError, match="needs at least 1 axes"):
        getattr(FUSED["cross_entropy"], side)(Tensor(1.0), 0)


def test_a_head_that_does_not_fit() -> None:
    with pytest.raises(ShapeError, match=r"linear_cross_entropy: weight must be \(5, 4\) to match x \(2, 4\)"):
        linear_cross_entropy(Tensor(np.ones((2, 4))), Tensor(np.ones((5, 3))), [0, 1])


def test_a_saved_gradient_is_scaled_by_what_comes_back() -> None:
    x = Tensor(np.random.default_rng(4).normal(size=(3, 5)), requires_grad=True)
    (cross_entropy(x, [0, 1, 2]) * 3).backward()
    tripled, x.grad = x.grad, None
    linear_cross_entropy(x, Tensor(np.eye(5)), [0, 1, 2]).backward(np.float64(3))
    np.testing.assert_allclose(x.grad, tripled, rtol=1e-13)


def test_linear_cross_entropy_needs_a_class() -> None:
    with pytest.raises(ShapeError, match="at least one class"):
        linear_cross_entropy(Tensor(np.ones((2, 3))), Tensor(np.ones((0, 3))), np.array([-100, -100]))


def test_no_targets_of_no_classes_have_a_loss_of_zero() -> None:
    assert cross_entropy(Tensor(np.ones((0, 0))), np.zeros(0, int), reduction="sum").item() == 0.0
