"""Verification of all gradients: every primitive, op, layer and model.

Two independent methods. `gradcheck` compares the gradients of backward with measured slopes (the complex step where
the function is analytic, central differences elsewhere). And every fused op is compared with its composed definition,
outputs and gradients, in float64 and in float32.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from tinygrad_llm import nn, primitives
from tinygrad_llm.architectures import ARCHITECTURES
from tinygrad_llm.arrays import Array
from tinygrad_llm.errors import TinygradLLMError
from tinygrad_llm.gradcheck import GradcheckReport, gradcheck
from tinygrad_llm.ops import FUSED, composed_ops
from tinygrad_llm.tensor import Tensor
from tinygrad_llm.verify.model_cases import LAYERS, ModuleCase, made, model_cases
from tinygrad_llm.verify.op_cases import CASES, Case
from tinygrad_llm.verify.primitive_cases import PRIMITIVES, PrimitiveCase

ELEMENTS = 64  # larger Tensors are moved in a few dense directions, which reveal an error in any element
# Absolute and relative tolerance, fused against composed. In float32 a sum of 500 rows, the longest, is off by 4e-6.
TOLERANCES = {np.float64: (1e-13, 1e-11), np.float32: (2e-5, 2e-5)}


@dataclass(frozen=True)
class Proof:
    """The result for one primitive, op, layer or model, defined at `source`, a file and line.

    `slopes` were measured, `exact` of them by the complex step. `worst_slope` is the largest relative difference
    between a gradient and its slope; `worst_fused` the largest between fused and composed in float64, None where
    nothing is fused. `problem` describes the error, "" where there is none.
    """

    group: str
    name: str
    source: str
    cases: int
    slopes: int
    exact: int
    worst_slope: float
    worst_fused: float | None
    problem: str = ""

    @property
    def ok(self) -> bool:
        return not self.problem


def prove(only: str = "", progress: Callable[[str], None] = lambda name: None) -> Iterator[Proof]:
    """Verify one after the other; with `only`, those whose name contains it.

    `progress` is called with the kind and name of each before it is verified.
    """
    for group, name, definition, trials in _all_trials():
        if only in name:
            progress(f"{group} {name}")
            yield _prove(group, name, definition, trials)


def _all_trials() -> Iterator[tuple[str, str, Any, list[_Trial]]]:
    """Kind, name, definition and trials of everything that can be verified."""
    for name, primitive_cases in PRIMITIVES.items():
        trials = [_Trial(partial(_slopes_of_primitive, case)) for case in primitive_cases]
        yield "primitive", name, primitive(name), trials
    for name, op in FUSED.items():
        yield "fused op", name, op.fused, [_op_trial(case) for case in CASES if case.op == name]
    for name, layer_cases in LAYERS.items():
        yield "layer", name, getattr(nn, name), [_module_trial(case) for case in layer_cases]
    for name, case in model_cases().items():
        yield "model", name, ARCHITECTURES[name].model, [_module_trial(case)]


def primitive(name: str) -> Callable[..., Any]:
    """The primitive of that name: a method of Tensor, such as `exp` or `__getitem__`, or a function, such as `cat`."""
    for owner, attribute in ((Tensor, name), (Tensor, f"__{name}__"), (primitives, name)):
        if hasattr(owner, attribute):
            found: Callable[..., Any] = getattr(owner, attribute)
            return found
    raise LookupError(f"primitive: no method of Tensor and no function is called {name!r}")


@dataclass(frozen=True)
class _Trial:
    """The measurements of one case: its slopes, and the difference between fused and composed, with the problem."""

    slopes: Callable[[], list[GradcheckReport]]
    fused_difference: Callable[[], tuple[float, str]] | None = None


def _prove(group: str, name: str, definition: Any, trials: Sequence[_Trial]) -> Proof:
    reports: list[GradcheckReport] = []
    problems: list[str] = [] if trials else ["it has no case"]
    worst_fused: float | None = None
    for trial in trials:
        try:
            reports += trial.slopes()
            if trial.fused_difference is not None:
                difference, problem = trial.fused_difference()
                worst_fused = max(difference, worst_fused or 0.0)
                problems += [problem] if problem else []
        except (TinygradLLMError, ArithmeticError, LookupError, TypeError, ValueError) as error:
            problems.append(f"{type(error).__name__}: {error}")
    compared = [comparison for report in reports for comparison in report.comparisons]
    problems += [problem for report in reports for problem in report.problems]
    return Proof(
        group,
        name,
        _source_of(definition),
        cases=len(trials),
        slopes=sum(one.cases for one in compared),
        exact=sum(one.cases for one in compared if one.method == "complex"),
        worst_slope=max((one.worst_relative for one in compared), default=0.0),
        worst_fused=worst_fused,
        problem="; ".join(dict.fromkeys(problems)),
    )


def _source_of(definition: Any) -> str:
    """The file and line where a function or class begins; "" for one without a file."""
    definition = inspect.unwrap(definition)
    try:
        return f"{Path(inspect.getsourcefile(definition) or '').resolve()}:{inspect.getsourcelines(definition)[1]}"
    except (OSError, TypeError):
        return ""


# -- the trials


def _slopes_of_primitive(case: PrimitiveCase) -> list[GradcheckReport]:
    inputs = [Tensor(x, requires_grad=True) for x in case.inputs]
    return [gradcheck(case.function, inputs, raise_exception=False)]


def _op_trial(case: Case) -> _Trial:
    forms = FUSED[case.op]

    def slopes() -> list[GradcheckReport]:
        if not case.measurable:
            return []
        return [
            gradcheck(partial(_call, case, form), case.tensors(), elements=ELEMENTS, raise_exception=False)
            for form in forms
        ]

    def fused_difference() -> tuple[float, str]:
        worst, problem = 0.0, ""
        for dtype in TOLERANCES:
            got, expected = (case.run(form, dtype) for form in forms)
            difference, wrong = _difference([got[0], *got[1]], [expected[0], *expected[1]], dtype)
            worst = max(worst, difference) if dtype is np.float64 else worst
            if wrong:
                problem = f"fused and composed differ by {difference:.1e} in {np.dtype(dtype)} ({case.name})"
        return worst, problem

    return _Trial(slopes, fused_difference)


def _call(case: Case, form: Callable[..., Tensor], *inputs: Any) -> Tensor:
    return case.call(form, inputs)


def _module_trial(case: ModuleCase) -> _Trial:
    def slopes() -> list[GradcheckReport]:
        module = made(case)
        inputs = [Tensor(x, requires_grad=x.dtype.kind == "f") for x in case.inputs]
        return [
            gradcheck(
                lambda *inputs: case.call(module, *inputs),
                inputs,
                parameters=dict(module.named_parameters()),
                elements=ELEMENTS,
                raise_exception=False,
            )
        ]

    def run() -> list[Array | None]:
        module = made(case).to(np.float64)
        inputs = [Tensor(x, requires_grad=x.dtype.kind == "f") for x in case.inputs]
        result = case.call(module, *inputs)
        outputs = list(result) if isinstance(result, tuple) else [result]
        for output in outputs:
            output.backward(np.cos(np.arange(output.size, dtype=np.float64)).reshape(output.shape))
        return [*(y.data for y in outputs), *(x.grad for x in inputs), *(p.grad for p in module.parameters())]

    def fused_difference() -> tuple[float, str]:
        got = run()
        with composed_ops():
            expected = run()
        difference, wrong = _difference(got, expected, np.float64)
        return difference, f"fused and composed differ by {difference:.1e}" if wrong else ""

    return _Trial(slopes, fused_difference)


def _difference(got: Sequence[Array | None], expected: Sequence[Array | None], dtype: Any) -> tuple[float, bool]:
    """The largest difference of two lists of arrays, relative to elements above 1, and whether it is too large."""
    absolute, relative = TOLERANCES[dtype]
    largest, wrong = 0.0, False
    for one, other in zip(got, expected, strict=True):
        if one is None or other is None:
            wrong |= one is not other
            continue
        same = (one == other) | (np.isnan(one) & np.isnan(other))
        with np.errstate(invalid="ignore"):
            difference = np.where(same, 0.0, np.abs(one - other))
        size = np.where(same, 0.0, np.abs(other))
        wrong |= not bool((difference <= absolute + relative * size).all()) or one.dtype != other.dtype
        scaled = difference / np.maximum(1.0, size)
        largest = max(largest, float(np.where(np.isnan(scaled), np.inf, scaled).max(initial=0.0)))
    return largest, wrong
