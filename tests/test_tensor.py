"""Tensor: construction, printing, conversion, and methods whose bodies a reader finds in one jump."""

import copy
import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from strategies import arrays, shapes

from tinygrad_llm import Tensor, nn
from tinygrad_llm.errors import DTypeError, GraphError, ShapeError
from tinygrad_llm.graph import operation_name


def leaf(*shape: int) -> Tensor:
    return Tensor(np.ones(shape), requires_grad=True)


# -- what a Tensor is


@pytest.mark.parametrize(
    ("data", "dtype"),
    [
        (1.5, "float32"),
        ([1.0, 2.0], "float32"),
        ([[1, 2]], "int64"),
        (3, "int64"),
        (True, "bool"),
        ([], "float32"),
        (np.float64(1), "float64"),
        (np.float32(1), "float32"),
        (np.ones(2), "float64"),
        (np.ones(2, "f2"), "float16"),
        (np.ones(2, "i4"), "int32"),
        ([np.ones(2), np.ones(2)], "float64"),
        ([np.float32(1)], "float32"),
        ([np.float64(1)], "float64"),
    ],
)
def test_dtypes(data: bool | float | list[Any], dtype: str) -> None:
    assert Tensor(data).dtype == dtype
    assert Tensor(data, dtype=np.float64).dtype == np.float64
    assert Tensor(Tensor(data)).dtype == dtype


def test_whole_numbers_that_want_a_gradient_are_floats() -> None:
    assert Tensor([1, 2], requires_grad=True).dtype == np.float32
    assert Tensor(3, requires_grad=True, dtype=np.float64).dtype == np.float64


def test_an_array_is_wrapped_not_copied() -> None:
    array = np.ones(3)
    assert Tensor(array).data is array
    assert Tensor(array).numpy() is array
    assert np.shares_memory(np.asarray(Tensor(array)), array)
    assert np.array(Tensor(array)) is not array


@given(arrays(shapes))
def test_its_measures(x: np.ndarray) -> None:
    t = Tensor(x)
    assert (t.shape, t.ndim, t.size, t.dtype) == (x.shape, x.ndim, x.size, x.dtype)
    assert t.tolist() == x.tolist()
    np.testing.assert_array_equal(np.asarray(t, dtype=np.float32), x.astype(np.float32))
    if x.ndim:
        assert len(t) == len(x)


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: Tensor([[1.0], [1.0, 2.0]]), ShapeError, "nested lists must be rectangular"),
        (lambda: Tensor("abc"), DTypeError, "must be numbers; got str"),
        (lambda: Tensor(None), DTypeError, "must be numbers; got NoneType"),
        (lambda: Tensor([1.0], dtype="no such"), DTypeError, "must be a NumPy dtype; got 'no such'"),
        (lambda: Tensor(np.array(["a"])), DTypeError, "must be numbers"),
        (lambda: Tensor(np.ones(2, int), requires_grad=True), DTypeError, "only floating-point Tensors have gradients"),
        (lambda: Tensor(True, requires_grad=True), DTypeError, "only floating-point"),
        (lambda: len(Tensor(1.0)), ShapeError, "0-d Tensor has no length; use item"),
        (lambda: Tensor([1.0, 2.0]).item(), ShapeError, r"one element is needed; got shape \(2,\)"),
        (lambda: float(Tensor([1.0, 2.0])), ShapeError, "one element"),
        (lambda: bool(Tensor([1.0, 2.0])), ShapeError, "ambiguous"),
        (lambda: bool(Tensor([])), ShapeError, "ambiguous"),
        (lambda: range(Tensor(1.0)), DTypeError, "only an integer Tensor is an index; got float32"),
    ],
)
def test_what_it_refuses(make: Callable[..., Any], error: type, message: str) -> None:
    with pytest.raises(error, match=message):
        make()


def test_one_number_leaves_as_a_python_number() -> None:
    assert Tensor([[2.5]]).item() == 2.5
    assert type(Tensor(np.float32(2.5)).item()) is float
    assert (float(Tensor(2.5)), int(Tensor(2.5)), bool(Tensor(0.0)), [10, 20][Tensor(1)]) == (2.5, 2, False, 20)


def test_equality_compares_elements_and_identity_is_the_hash() -> None:
    x, y = Tensor([1.0, 2.0]), Tensor([1.0, 3.0])
    np.testing.assert_array_equal((x == y).data, [True, False])
    assert len({x, y, x}) == 2
    assert {x: "x"}[x] == "x"


def test_repr_shows_numbers_shape_dtype_and_the_operation() -> None:
    x = Tensor([[1.0, 2.0]], requires_grad=True)
    assert repr(x) == "Tensor([[1., 2.]], shape=(1, 2), dtype=float32, requires_grad=True)"
    assert repr(Tensor([1, 2])) == "Tensor([1, 2], shape=(2,), dtype=int64)"
    assert repr(x * 2).endswith("dtype=float32, op=mul)")
    assert repr(x.max()).endswith("op=max)")
    assert len(repr(Tensor(np.zeros((1000, 1000))))) < 800
    y = (x * 2).sum()
    y.backward()
    assert repr(y).endswith("op=freed)")
    assert operation_name("outer.<locals>.inner.<locals>.backward") == "inner"
    assert operation_name("max_.<locals>.backward") == "max"


# -- methods


def methods_of_primitives() -> dict[str, object]:
    return {
        name: value
        for base in Tensor.__mro__
        if base.__module__.startswith("tinygrad_llm.primitives.")
        for name, value in vars(base).items()
        if inspect.isfunction(value)
    }


def test_a_method_leads_to_its_body_in_one_jump() -> None:
    methods = methods_of_primitives()
    assert {"exp", "__add__", "__getitem__", "sum", "matmul", "reshape", "split", "where"} <= set(methods)
    for name in methods:
        method = inspect.getattr_static(Tensor, name)
        assert "primitives" in Path(inspect.getsourcefile(inspect.unwrap(method))).parts, name
        assert inspect.getsource(method).rstrip().endswith("...") is False, name
    assert "np.exp(" in inspect.getsource(Tensor.exp)
    assert "unbroadcast" in inspect.getsource(Tensor.__add__)


@pytest.mark.slow
def test_a_type_checker_sees_the_bodies_too() -> None:
    mypy = pytest.importorskip("mypy.api")
    program = (
        "from tinygrad_llm import Tensor\nx = Tensor([1.0])\n"
        "reveal_type(x.exp())\nreveal_type(2 - x @ x)\nreveal_type(x[0] > 1)\nreveal_type(x.split(1))\nx.expp()\n"
    )
    told, _, _ = mypy.run(["--config-file=", "--no-error-summary", "-c", program])
    lines = told.splitlines()
    assert [line.partition("note: ")[2] for line in lines[:4]] == [
        'Revealed type is "tinygrad_llm.tensor.Tensor"',
        'Revealed type is "tinygrad_llm.tensor.Tensor"',
        'Revealed type is "tinygrad_llm.tensor.Tensor"',
        'Revealed type is "tuple[tinygrad_llm.tensor.Tensor, ...]"',
    ]
    assert '"Tensor" has no attribute "expp"' in lines[4]


def test_a_computed_subclass_is_a_plain_tensor() -> None:
    assert type(nn.Parameter([1.0]) * 2) is Tensor


def test_a_deep_copy_is_a_leaf_of_its_own() -> None:
    x = Tensor([1.0, 2.0], requires_grad=True)
    x.grad = np.array([3.0, 4.0])
    other = copy.deepcopy(x)
    x.data[0] = x.grad[0] = 9.0
    assert other.data.tolist() == [1.0, 2.0] and other.grad.tolist() == [3.0, 4.0] and other.requires_grad
    with pytest.raises(GraphError, match="deepcopy"):
        copy.deepcopy(x * 2)


def test_a_tensor_made_of_a_leaf_with_requires_grad_is_another_leaf() -> None:
    x = Tensor([1.0, 2.0], requires_grad=True)
    assert Tensor(x, requires_grad=True).node is None
    (Tensor(x, requires_grad=True) * 3).sum().backward()
    assert x.grad is None
    Tensor(x).sum().backward()
    assert x.grad.tolist() == [1.0, 1.0]


def test_a_long_tensor_prints_three_numbers_from_each_end() -> None:
    assert repr(Tensor(np.arange(50))).startswith("Tensor([ 0,  1,  2, ..., 47, 48, 49], shape=(50,), dtype=int")


def test_repr_of_many_numbers_is_cut_and_of_several_rows_aligned() -> None:
    assert "..." not in repr(Tensor(np.arange(40)))
    assert "..." in repr(Tensor(np.arange(41)))
    assert repr(Tensor([[1.23456], [2.0]])).startswith("Tensor([[1.2346],\n        [2.    ]], ")


def test_an_array_that_has_the_dtype_asked_for_is_not_copied() -> None:
    x = np.ones(3, np.float32)
    assert Tensor(x, dtype=np.float32).data is x


def test_a_tensor_of_a_plain_tensor_is_over_the_same_array() -> None:
    x = Tensor([1.0])
    assert Tensor(x).data is x.data
