"""The checker is checked: right gradients pass, and every way to break a backward fails with the right words."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from strategies import arrays, shapes

from tinygrad_llm import Tensor, nn
from tinygrad_llm.errors import ConfigError, DTypeError, GradcheckError
from tinygrad_llm.gradcheck import GradcheckReport, gradcheck, spread
from tinygrad_llm.graph import is_grad_enabled, record_operation


def leaf(*shape: int) -> Tensor:
    return Tensor(np.random.default_rng(len(shape)).normal(size=shape), requires_grad=True)


def matmul_with(break_dx: Any, break_dy: Any = lambda dy: dy) -> Callable[..., Any]:
    """x @ y whose gradients pass through a mistake."""

    def broken(x: Tensor, y: Tensor) -> Tensor:
        a, b = x.data, y.data

        def backward(dz: np.ndarray) -> tuple[Any, ...]:
            return break_dx(dz @ b.T), break_dy(a.T @ dz)

        return record_operation(a @ b, (x, y), backward)

    return broken


def wrong_at_one(dx: np.ndarray) -> np.ndarray:
    dx = dx.copy()
    dx[1, 2] += 1e-4
    return dx


BROKEN = {
    "sign": (lambda dx: -dx, "the sign is reversed"),
    "factor": (lambda dx: 0.5 * dx, "it is 0.5 times what it should be"),
    "counted twice": (lambda dx: 2 * dx, "it is 2 times what it should be"),
    "transposed": (lambda dx: dx.T, "it is transposed"),
    "one element": (wrong_at_one, r"wrong in 1 of 9 elements; worst at element \[1, 2\].*only some are wrong"),
    "zero": (np.zeros_like, "the gradient is zero everywhere"),
    "none": (lambda dx: None, "no gradient arrived at all"),
    "nan": (lambda dx: dx * np.nan, "NaN or infinity in the gradient"),
    "shape": (lambda dx: dx[:2], r"of its parent's shape \(3, 3\); got \(2, 3\)"),
    "noise": (lambda dx: dx + spread(dx.shape, 5), "usual causes"),
}


@pytest.mark.parametrize("mistake", BROKEN)
def test_a_broken_backward_fails_and_is_named(mistake: str) -> None:
    break_dx, message = BROKEN[mistake]
    with pytest.raises(GradcheckError, match=message):
        gradcheck(matmul_with(break_dx), [leaf(3, 3), leaf(3, 3)])
    with pytest.raises(GradcheckError, match=message):
        gradcheck(matmul_with(lambda dx: dx, break_dx), [leaf(3, 3), leaf(3, 3)])
    assert gradcheck(matmul_with(lambda dx: dx), [leaf(3, 3), leaf(3, 3)]).ok


@pytest.mark.parametrize("mistake", set(BROKEN) - {"transposed", "shape"})
@pytest.mark.parametrize("method", ["auto", "central"])
def test_directions_find_them_too(mistake: str, method: str) -> None:
    break_dx, _ = BROKEN[mistake]
    with pytest.raises(GradcheckError):
        gradcheck(matmul_with(break_dx), [leaf(30, 20), leaf(20, 30)], method=method)


def test_a_gradient_that_is_overwritten_instead_of_accumulated() -> None:
    def read_rows(table: Tensor) -> Tensor:
        ids, shape = np.array([0, 2, 2]), table.shape

        def backward(dy: np.ndarray) -> tuple[Any, ...]:
            dx = np.zeros(shape)
            dx[ids] = dy
            return (dx,)

        return record_operation(table.data[ids], (table,), backward)

    with pytest.raises(GradcheckError, match="assigned instead of accumulated"):
        gradcheck(read_rows, [leaf(3, 2)])


def test_a_broadcast_that_is_not_summed() -> None:
    def add(x: Tensor, bias: Tensor) -> Tensor:
        return record_operation(x.data + bias.data, (x, bias), lambda dy: (dy, dy))

    def first_row_only(x: Tensor, bias: Tensor) -> Tensor:
        return record_operation(x.data + bias.data, (x, bias), lambda dy: (dy, dy[0]))

    for broken in (add, first_row_only):
        with pytest.raises(GradcheckError):
            gradcheck(broken, [leaf(4, 3), leaf(3)])


def test_a_backward_that_is_right_only_for_a_gradient_of_ones() -> None:
    def square(x: Tensor) -> Tensor:
        a = x.data
        return record_operation(a * a, (x,), lambda dy: (2 * a,))

    with pytest.raises(GradcheckError):
        gradcheck(square, [leaf(4)])


def test_a_backward_that_writes_into_a_shared_array_fails() -> None:
    def into_dy(x: Tensor) -> Tensor:
        def backward(dy: np.ndarray) -> None:
            dy *= 2
            return (dy,)

        return record_operation(2 * x.data, (x,), backward)

    def into_input(x: Tensor) -> Tensor:
        a = x.data

        def backward(dy: np.ndarray) -> tuple[Any, ...]:
            a[0] = 7
            return (dy,)

        return record_operation(a.copy(), (x,), backward)

    with pytest.raises(GradcheckError, match="wrote into dy"):
        gradcheck(into_dy, [leaf(3)])
    with pytest.raises(GradcheckError, match="input 0 was changed"):
        gradcheck(into_input, [leaf(3)])


def test_a_function_with_a_mood_is_named() -> None:
    numbers = np.random.default_rng(0)
    with pytest.raises(GradcheckError, match="gave other numbers when called again; switch dropout off"):
        gradcheck(lambda x: x * numbers.normal(), [leaf(3)])


def test_a_function_that_leaves_float64_or_the_finite_numbers() -> None:
    with pytest.raises(GradcheckError, match="output 0 is float32 for float64 inputs"):
        gradcheck(lambda x: x.astype(np.float32), [leaf(3)])
    with pytest.raises(GradcheckError, match="output 0 is not finite"):
        gradcheck(lambda x: x.log(), [Tensor([0.0, 1.0], requires_grad=True)])
    with pytest.raises(DTypeError, match="must return floats"):
        gradcheck(lambda x: x.argmax(), [leaf(3)])


def test_a_kink_is_mentioned() -> None:
    with pytest.raises(GradcheckError, match=r"\[0\]: backward says 0, central differences 0\.62.*lies at a kink"):
        gradcheck(lambda x: x.relu(), [Tensor([0.0, 1.0], requires_grad=True)])


@settings(max_examples=40)
@given(arrays(shapes))
def test_every_shape_passes_when_it_should(x: np.ndarray) -> None:
    report = gradcheck(lambda t: (t * t + t).tanh(), [Tensor(x, requires_grad=True)])
    assert report.ok
    assert report.cases == x.size


def test_the_callers_tensors_stay_as_they_are() -> None:
    x = Tensor(np.float32([1, 2]), requires_grad=True)
    x.grad = np.float32([5, 5])
    data, grad = x.data, x.grad
    gradcheck(lambda t: t * t, [x])
    assert x.data is data and x.grad is grad
    np.testing.assert_array_equal(data, [1, 2])
    np.testing.assert_array_equal(grad, [5, 5])


def test_parameters_are_checked_where_they_are_and_given_back() -> None:
    layer = nn.Linear(3, 2)
    named = dict(layer.named_parameters())
    before = {name: (p.data, p.data.copy()) for name, p in named.items()}
    x = leaf(4, 3)
    report = gradcheck(layer, [x], parameters=named)
    assert [one.name for one in report.comparisons] == ["input 0", *named]
    for name, p in named.items():
        assert p.data is before[name][0] and p.grad is None
        np.testing.assert_array_equal(p.data, before[name][1])
        assert p.dtype == np.float32
    unnamed = gradcheck(layer, [x], parameters=layer.parameters())
    assert [one.name for one in unnamed.comparisons] == ["input 0", "parameter 0", "parameter 1"]
    with pytest.raises(ZeroDivisionError):
        gradcheck(lambda: 1 // 0, parameters=named)
    assert all(p.data is before[name][0] for name, p in named.items())


def test_a_broken_parameter_is_found_by_its_name() -> None:
    weight = leaf(2, 2)
    with pytest.raises(GradcheckError, match=r"the gradient of layer\.weight, "):
        gradcheck(matmul_with(lambda dx: dx, lambda dy: -dy), [leaf(2, 2), weight], parameters={"layer.weight": weight})


def test_shared_tensors_are_one() -> None:
    x = leaf(3)
    report = gradcheck(lambda a, b: a * b, [x, x])
    assert report.ok and len(report.comparisons) == 1
    assert len(gradcheck(lambda: x * x, parameters={"a": x, "b": x}).comparisons) == 1


def test_inputs_that_are_not_checked_are_passed_on() -> None:
    seen = []

    def function(x: Tensor, ids: np.ndarray, fixed: Tensor, scale: float) -> Tensor:
        seen.append((ids, fixed.dtype, scale))
        return x[ids] * fixed * scale

    ids = np.array([0, 0, 1])
    report = gradcheck(function, [leaf(2), ids, Tensor(np.float32([1, 2, 3])), 3.0])
    assert report.ok and len(report.comparisons) == 1
    assert all(one[0] is ids and one[2] == 3.0 for one in seen)
    assert {one[1] for one in seen} == {np.dtype(np.float64), np.dtype(np.complex128)}


def test_several_outputs_are_all_weighed() -> None:
    def halves(x: Tensor) -> tuple[Any, ...]:
        return x[:2], x[2:] * 3, x.argmax()

    assert gradcheck(halves, [leaf(4)]).ok

    def second_is_broken(x: Tensor) -> tuple[Any, ...]:
        return x * 2, record_operation(3 * x.data, (x,), lambda dy: (dy,))

    with pytest.raises(GradcheckError):
        gradcheck(second_is_broken, [leaf(4)])
    assert gradcheck(lambda x: x, leaf(3)).ok


def test_a_large_input_is_checked_along_directions() -> None:
    report = gradcheck(lambda x: (x * x).sum(), [leaf(40, 40)])
    (only,) = report.comparisons
    assert (only.by, only.cases) == ("directions", 3)
    assert gradcheck(lambda x: (x * x).sum(), [leaf(2)], elements=0, directions=2).comparisons[0].by == "directions"
    with pytest.raises(GradcheckError, match=r"wrong in \d of 3 directions; worst at direction"):
        gradcheck(matmul_with(lambda dx: -dx), [leaf(20, 20), leaf(20, 20)])


def test_the_complex_step_sees_what_central_differences_cannot() -> None:
    def almost(x: Tensor) -> Tensor:
        a = x.data
        z = np.exp(a)
        return record_operation(z, (x,), lambda dy: (dy * z * (1 + 1e-8),))

    assert gradcheck(almost, [leaf(3)], method="central").ok
    with pytest.raises(GradcheckError, match="the complex step"):
        gradcheck(almost, [leaf(3)])
    assert gradcheck(lambda x: x.exp(), [leaf(3)]).worst_relative < 1e-14


def test_the_complex_step_is_not_used_for_functions_that_are_not_analytic() -> None:
    for function in (abs, lambda x: x.erf()):  # one drops the imaginary part, one refuses complex numbers
        assert gradcheck(function, [leaf(3)]).comparisons[0].method == "central"
    with pytest.raises(GradcheckError):
        gradcheck(abs, [leaf(3)], method="complex")
    with pytest.raises(DTypeError):
        gradcheck(lambda x: x.erf(), [leaf(3)], method="complex")


def test_steps_grow_with_the_numbers() -> None:
    assert gradcheck(lambda x: x * 1e-3, [Tensor(np.array([1e13, 1.0]), requires_grad=True)], method="central").ok


def test_the_report_prints_as_a_table() -> None:
    report = gradcheck(matmul_with(lambda dx: -dx), [leaf(2, 2), leaf(2, 2)], raise_exception=False)
    assert isinstance(report, GradcheckReport)
    assert not report.ok
    lines = str(report).splitlines()
    assert lines[0] == "gradcheck: broken"
    assert lines[1].split() == ["gradient", "of", "shape", "method", "cases", "absolute", "relative"]
    assert lines[2].startswith("input 0") and lines[2].endswith("WRONG")
    assert lines[3].startswith("input 1") and lines[3].endswith("ok")
    assert "the sign is reversed" in lines[4]
    assert report.comparisons[0].worst_absolute > 0.1
    assert report.cases == 8


def test_nothing_to_check() -> None:
    with pytest.raises(ConfigError, match="at least one input or parameter must have requires_grad=True"):
        gradcheck(lambda x: x, [Tensor([1.0])])
    with pytest.raises(ConfigError, match='"auto", "central" or "complex"; got \'magic\''):
        gradcheck(lambda x: x, [leaf(1)], method="magic")  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="parameters must be leaves"):
        gradcheck(lambda: leaf(1), parameters=[leaf(1) * 2])


def test_recording_is_on_again_afterwards() -> None:
    gradcheck(lambda x: x * 2, [leaf(2)])
    assert is_grad_enabled()


def test_directions_hide_no_element_and_are_the_same_everywhere() -> None:
    numbers = spread((100,), 0)
    assert (np.abs(numbers) >= 0.5).all() and (np.abs(numbers) < 1.5).all()
    assert 30 < (numbers > 0).sum() < 70
    assert len(set(numbers)) == 100
    np.testing.assert_allclose(numbers[:2], spread((2,), 0), rtol=0)
    assert abs(np.corrcoef(numbers, spread((100,), 1))[0, 1]) < 0.3
    assert spread((), 0).shape == ()


@given(st.integers(0, 5))
def test_the_first_bits_of_splitmix64(seed: int) -> None:
    mask = 2**64 - 1
    z = (seed + 1 << 32) * 0x9E3779B97F4A7C15 & mask
    z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9 & mask
    z = (z ^ z >> 27) * 0x94D049BB133111EB & mask
    z ^= z >> 31
    assert spread((), seed) == (1 if z & 1 else -1) * (0.5 + (z >> 11) / 2**53)
