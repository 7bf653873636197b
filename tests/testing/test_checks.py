"""The checker is checked: a right op passes every check, and each kind of broken op is found by the check for it."""

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import find, given, settings

from tinygrad_llm import Tensor
from tinygrad_llm.errors import CheckError, ConfigError, GradcheckError, ShapeError
from tinygrad_llm.graph import record_operation
from tinygrad_llm.primitives.operands import unbroadcast
from tinygrad_llm.testing import (
    arrays,
    arrays_with_axis,
    arrays_with_one_axis,
    broadcast_pairs,
    check_broadcasting,
    check_dtype,
    check_error,
    check_gradient,
    check_layout,
    check_op,
    check_value,
    special,
)

X, Y = np.array([[0.5, -1.25, 2.0]]), np.array([[0.75], [-0.25]])


def product(x: Tensor, y: Tensor, **broken: Any) -> Tensor:
    """x y, right unless `broken` names what is to be wrong."""
    a, b = x.data, y.data
    z = a * b
    if "value" in broken:
        z = z + 1e-6
    if "shape" in broken:
        z = z[None]
    if "dtype" in broken:
        z = z * np.float64(1.0) + np.zeros(1)
    if "layout" in broken and not a.flags.c_contiguous:
        z = a.copy() * b + 1
    if "numpy" in broken:
        z = z * broken["numpy"]

    def backward(dz: Any) -> Any:
        dx, dy = dz * b, dz * a
        if "factor" in broken:
            dx = dx * 1.001
        if "swapped" in broken:
            dx = dz * a if a.shape == dz.shape else dx
        if "mean" in broken:
            return dx.mean(axis=0, keepdims=True) if x.shape != dx.shape else dx, unbroadcast(dy, y.shape)
        return unbroadcast(dx, x.shape), unbroadcast(dy, y.shape)

    return record_operation(z, (x, y), backward)


def reference(x: Any, y: Any) -> Any:
    return x * y


@settings(max_examples=25)
@given(broadcast_pairs())
def test_a_right_op_passes_every_check(pair: Any) -> None:
    check_op(product, reference, *pair)
    check_broadcasting(product, *pair)


BROKEN = [
    ("value", lambda op: check_value(op, reference, X, Y), CheckError, "value: "),
    ("shape", lambda op: check_value(op, reference, X, Y), CheckError, "value: "),
    ("dtype", lambda op: check_dtype(op, X, Y), CheckError, "float32 inputs must give float32; got float64"),
    ("layout", lambda op: check_layout(op, X, Y), CheckError, "strided memory"),
    ("factor", lambda op: check_gradient(op, X, Y), GradcheckError, "the gradient of input 0"),
    ("mean", lambda op: check_broadcasting(op, X, Y), CheckError, "broadcasting: gradient"),
    ("mean", lambda op: check_gradient(op, X, Y), GradcheckError, "the gradient of input 0"),
]


@pytest.mark.parametrize(("fault", "check", "error", "says"), BROKEN)
def test_a_broken_op_is_found(fault: Any, check: Any, error: Any, says: Any) -> None:
    with pytest.raises(error, match=says):
        check(lambda x, y: product(x, y, **{fault: True}))


@pytest.mark.parametrize("fault", ["value", "shape", "dtype", "layout", "factor"])
def test_check_op_finds_each_of_them(fault: Any) -> None:
    with pytest.raises((CheckError, GradcheckError)):
        check_op(lambda x, y: product(x, y, **{fault: True}), reference, X, Y)


def test_a_missing_result_and_an_unasked_record_are_found() -> None:
    with pytest.raises(CheckError, match="op must give 2 results"):
        check_value(lambda x: x, lambda x: (x, x), X)
    leaf = Tensor(np.ones(3), requires_grad=True)
    with pytest.raises(CheckError, match="nothing may be recorded"):
        check_value(lambda x: x + leaf, lambda x: x + 1, X)


def test_a_fault_at_negative_numbers_shrinks_to_the_first_of_them() -> None:
    def slope_is_wrong(x: Any) -> Any:
        try:
            check_gradient(lambda t: record_operation(t.data**2, (t,), lambda dz: (2 * np.abs(t.data) * dz,)), x)
        except GradcheckError:
            return True
        return False

    smallest = find(arrays(), slope_is_wrong, settings=settings(max_examples=300, derandomize=True, database=None))
    assert smallest.shape == ()
    assert smallest == -0.0625


def test_errors_are_checked_by_class_and_message() -> None:
    def refuse(x: Any) -> None:
        raise ShapeError(f"refuse: must be a vector; got {x}")

    check_error(refuse, 3, error=ShapeError, says="must be a vector; got 3")
    for options, says in [
        ({"error": ConfigError}, "ConfigError must be raised; got ShapeError"),
        ({"says": "a matrix"}, "the message must contain 'a matrix'"),
    ]:
        with pytest.raises(CheckError, match=says):
            check_error(refuse, 3, **options)
    with pytest.raises(CheckError, match="nothing was"):
        check_error(abs, 3)


@given(arrays_with_axis(), arrays_with_one_axis(), arrays(elements=special))
def test_strategies_draw_the_documented_shapes_and_values(with_axis: Any, with_one: Any, specials: Any) -> None:
    x, axis = with_axis
    assert np.sum(x, axis=axis).ndim <= x.ndim
    x, axis = with_one
    assert -x.ndim <= axis < x.ndim
    assert specials.dtype == np.float64


def test_without_hypothesis_the_error_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    from tinygrad_llm import testing
    from tinygrad_llm.errors import MissingPackageError

    monkeypatch.setitem(sys.modules, "hypothesis", None)
    monkeypatch.delitem(sys.modules, "tinygrad_llm.testing.strategies", raising=False)
    monkeypatch.delitem(vars(testing), "arrays", raising=False)
    monkeypatch.delitem(vars(testing), "strategies", raising=False)
    with pytest.raises(MissingPackageError, match=r"pip install 'tinygrad-llm\[test\]'"):
        testing.arrays  # noqa: B018
    assert testing.check_op is check_op


def test_the_page_of_the_room_is_a_test_in_ten_lines() -> None:
    import tinygrad_llm.testing as testing

    page = Path(testing.__file__).read_text("utf-8")
    example = page[page.index("    import numpy") : page.index("`arrays()` draws")]
    code = "\n".join(line[4:] for line in example.splitlines()).replace(
        "from my_project import cube", "cube = lambda x: x * x * x"
    )
    assert len(code.strip().splitlines()) <= 10
    namespace = {}
    exec(code, namespace)
    namespace["test_cube"]()
