"""Every row of the table: value, gradient, broadcasting, dtype, memory layout, 0-d and empty, PyTorch's numbers."""

import functools
from typing import Any

import numpy as np
import pytest
from functions.table import TABLE
from hypothesis import given, settings
from hypothesis import strategies as st

from tinygrad_llm import Tensor, functions
from tinygrad_llm.testing import check_broadcasting, check_dtype, check_gradient, check_layout, check_value

# The gradient of `embedding` at the padding row is 0 by decision: see test_lookup. The others have a definition in
# primitives, and are proven beside it.
NOT_IN_TABLE = {
    "gated_delta_rule",
    "gated_delta_rule_recurrent",
    "inverse_of_unit_lower",
    "embedding",
    "rms_norm",
    "rotate",
    "silu",
}
A_THIRD = settings(max_examples=settings().max_examples // 3)  # an example measures slopes at many elements
SPECIAL = [0.0, -0.0, 1.5, -2.0, np.inf, -np.inf, np.nan, 1e-30, 1e30]


def as_tuple(result: Any) -> Any:
    return tuple(result) if isinstance(result, tuple | list) else (result,)


def test_every_function_has_a_row() -> None:
    assert {name.split(" ")[0] for name in TABLE} | NOT_IN_TABLE == set(functions.__all__)


@pytest.mark.parametrize("name", TABLE)
@A_THIRD
@given(data=st.data())
def test_a_function_agrees_with_numpy_and_finite_differences(name: str, data: Any) -> None:
    row = TABLE[name]
    arrays, options = data.draw(row.inputs)
    op = functools.partial(row.op, **options)
    if row.in_numpy is not None:
        check_value(op, functools.partial(row.in_numpy, **options), *arrays, rtol=1e-12, atol=1e-13)
    check_dtype(op, *arrays)
    check_layout(op, *arrays)
    if row.differentiable:
        check_gradient(op, *arrays)
    if row.broadcasts:
        check_broadcasting(op, *arrays)


@pytest.mark.filterwarnings("ignore:reduction")  # PyTorch's own, about the mean of kl_div
@pytest.mark.parametrize("name", TABLE)
@settings(max_examples=30)
@given(data=st.data())
def test_a_function_agrees_with_pytorch(name: str, data: Any) -> None:
    torch = pytest.importorskip("torch")
    row = TABLE[name]
    arrays, options = data.draw(row.inputs)
    compare_with_torch(torch, row, arrays, options)


@pytest.mark.parametrize("name", [name for name, row in TABLE.items() if row.special])
def test_zero_infinity_and_nan_go_by_pytorchs_rules(name: str) -> None:
    torch = pytest.importorskip("torch")
    row = TABLE[name]
    for options in row.special_options:
        for x in SPECIAL:
            for y in SPECIAL:
                pair = np.array([x, y])
                arrays = (np.array([x]), np.array([y])) if takes_two(name) else (pair,)
                compare_with_torch(torch, row, arrays, options)


def takes_two(name: Any) -> Any:
    return name in {"logaddexp", "remainder", "floor_divide", "mse_loss", "bitwise_and", "bitwise_or", "bitwise_xor"}


def compare_with_torch(torch: Any, row: Any, arrays: Any, options: Any) -> None:
    ours = [Tensor(x.copy(), requires_grad=row.differentiable and x.dtype.kind == "f") for x in arrays]
    theirs = [torch.tensor(np.array(x), requires_grad=row.differentiable and x.dtype.kind == "f") for x in arrays]
    converted = {
        key: torch.tensor(value) if isinstance(value, np.ndarray) and key != "repeats" else value
        for key, value in options.items()
    }
    got = as_tuple(row.op(*ours, **options))
    expected = as_tuple(row.in_torch(torch)(*theirs, **converted))
    assert len(got) == len(expected)
    for one, other in zip(got, expected, strict=True):
        np.testing.assert_allclose(one.data, other.detach().numpy(), rtol=1e-12, atol=1e-13)
        assert one.shape == tuple(other.shape)
    if row.differentiable and got[0].requires_grad and expected[0].requires_grad:
        weights = 1 + np.arange(got[0].data.size, dtype=float).reshape(got[0].shape) / 7
        got[0].backward(weights)
        expected[0].backward(torch.tensor(weights))
        for mine, other in zip(ours, theirs, strict=True):
            if other.grad is not None:
                gradient = np.zeros(mine.shape) if mine.grad is None else mine.grad
                np.testing.assert_allclose(gradient, other.grad.numpy(), rtol=1e-11, atol=1e-12)
