"""Formulas of operations, from docstrings and code."""

from contextlib import nullcontext
from typing import Any

import numpy as np
import pytest
from recorded_gpt import recorded
from tiny_gpt import tiny

from tinygrad_llm import Tensor, composed_ops, study
from tinygrad_llm.graph import record_operation
from tinygrad_llm.ops import FUSED
from tinygrad_llm.study.formulas import GRADIENT_FORMULA
from tinygrad_llm.study.tape import Tape
from tinygrad_llm.study.tape_entry import Entry
from tinygrad_llm.verify.model_cases import made, model_cases
from tinygrad_llm.verify.op_cases import CASES
from tinygrad_llm.verify.primitive_cases import PRIMITIVES


@pytest.fixture(scope="module")
def tape() -> Tape:
    return recorded(tiny())


def has_gradient_formula(entry: Entry) -> bool:
    return any(map(GRADIENT_FORMULA.search, entry.formula.splitlines())) or "def backward(" in entry.formula


@pytest.mark.parametrize("name", model_cases())
def test_every_operation_of_every_model_has_its_formula(name: str) -> None:
    case = model_cases()[name]
    model = made(case)
    for ops in (nullcontext, composed_ops):  # the second time spelled out
        with ops(), study.record() as tape:
            case.call(model, *case.inputs)
        silent = {entry.name for entry in tape if entry.differentiable and not has_gradient_formula(entry)}
        assert len(tape) > 20 and not silent


def test_every_op_and_primitive_has_its_formula() -> None:
    with study.record() as tape:
        for case in CASES:
            if max(map(np.size, case.inputs)) < 2000:
                case.call(FUSED[case.op].fused, case.tensors())
        for cases in PRIMITIVES.values():
            for case in cases[:1]:
                case.function(*[Tensor(x, requires_grad=True) for x in case.inputs])
    names = {entry.name for entry in tape}
    assert len(names) > 45 and {"layer_norm", "gelu", "rotate", "cumsum", "where", "max"} <= names
    assert {entry.name for entry in tape if entry.differentiable and not has_gradient_formula(entry)} == set()


def test_a_formula_is_from_the_docstring_or_else_from_the_code(tape: Tape) -> None:
    assert tape[5].formula == (
        "y = x Wᵀ + b, the same for every row of x.\n    dx = dy W,  dW = dyᵀ x,  db = Σ dy over the rows"
    )
    assert "x̂ = (x - mean) · rstd" in tape[4].formula and "Shapes" not in tape[4].formula
    assert "return (dz.reshape(before),)" in tape[6].formula and "row-major" in tape[6].formula

    def own(x: Tensor) -> Tensor:
        def backward(dy: Any) -> Any:
            return (7 * dy,)

        return record_operation(7 * x.data, (x,), backward)

    with study.record() as ours:
        own(Tensor([1.0], requires_grad=True))
    assert ours[0].name == "own" and ours[0].formula.endswith("return (7 * dy,)")
