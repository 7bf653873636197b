"""The proof that the gradients are right: every primitive, op, layer and model, against slopes and against each other.

Two independent witnesses. The slope of a function when its input is moved a little (`gradcheck`: the complex step where
the function is analytic, central differences elsewhere) judges what backward says; and every fused op is held beside
its composed definition, outputs and gradients, in float64 and in float32.
"""

from __future__ import annotations

import html
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

import numpy as np

from tinygrad_llm.errors import TinygradLLMError
from tinygrad_llm.gradcheck import GradcheckReport, gradcheck
from tinygrad_llm.ops import FUSED, composed_ops
from tinygrad_llm.tensor import Array, Tensor
from tinygrad_llm.verify.model_cases import LAYERS, ModuleCase, made, model_cases
from tinygrad_llm.verify.op_cases import CASES, Case
from tinygrad_llm.verify.primitive_cases import PRIMITIVES, PrimitiveCase

ELEMENTS = 64  # larger Tensors are moved in a few dense directions, which an error in any element shows in
# Absolute and relative, fused beside composed. In float32 a sum of 500 rows, the longest, is 4e-6 off on either side.
ALLOWED = {np.float64: (1e-13, 1e-11), np.float32: (2e-5, 2e-5)}


@dataclass(frozen=True)
class Proof:
    """One line of the proof: what was tried, how often, and the worst that was found.

    `slopes` were measured, `exact` of them by the complex step. `worst_slope` is the largest relative difference
    between backward and a slope; `worst_fused` that between a fused op and its definition in float64, None where
    nothing is fused. `problem` says what is wrong, and is empty where nothing is.
    """

    group: str
    name: str
    cases: int
    slopes: int
    exact: int
    worst_slope: float
    worst_fused: float | None
    problem: str = ""

    @property
    def ok(self) -> bool:
        return not self.problem


def prove(only: str = "") -> Iterator[Proof]:
    """Every line of the proof, one after the other; `only` those whose name contains it."""
    for name, primitive_cases in PRIMITIVES.items():
        if only in name:
            yield _prove("primitive", name, [_Trial(partial(_of_primitive, case)) for case in primitive_cases])
    for name in FUSED:
        if only in name:
            yield _prove("fused op", name, [_Trial(*_of_op(case)) for case in CASES if case.op == name])
    for name, layer_cases in LAYERS.items():
        if only in name:
            yield _prove("layer", name, [_Trial(*_of_module(case)) for case in layer_cases])
    for name, model_case in model_cases().items():
        if only in name:
            yield _prove("model", name, [_Trial(*_of_module(model_case))])


@dataclass(frozen=True)
class _Trial:
    """What is asked of one case: its slopes, and how far fused and composed are apart."""

    slopes: Callable[[], list[GradcheckReport]]
    apart: Callable[[], tuple[float, str]] | None = None


def _prove(group: str, name: str, trials: Sequence[_Trial]) -> Proof:
    reports: list[GradcheckReport] = []
    problems: list[str] = [] if trials else ["nothing tries it"]
    fused: float | None = None
    for trial in trials:
        try:
            reports += trial.slopes()
            if trial.apart is not None:
                distance, problem = trial.apart()
                fused = max(distance, fused or 0.0)
                problems += [problem] if problem else []
        except (TinygradLLMError, ArithmeticError, LookupError, TypeError, ValueError) as error:
            problems.append(f"{type(error).__name__}: {error}")
    compared = [comparison for report in reports for comparison in report.comparisons]
    problems += [problem for report in reports for problem in report.problems]
    return Proof(
        group,
        name,
        cases=len(trials),
        slopes=sum(one.cases for one in compared),
        exact=sum(one.cases for one in compared if one.method == "complex"),
        worst_slope=max((one.worst_relative for one in compared), default=0.0),
        worst_fused=fused,
        problem="; ".join(dict.fromkeys(problems)),
    )


def _of_primitive(case: PrimitiveCase) -> list[GradcheckReport]:
    inputs = [Tensor(x, requires_grad=True) for x in case.inputs]
    return [gradcheck(case.function, inputs, raise_exception=False)]


def _of_op(case: Case) -> tuple[Callable[[], list[GradcheckReport]], Callable[[], tuple[float, str]]]:
    pair = FUSED[case.op]

    def slopes() -> list[GradcheckReport]:
        if not case.measurable:
            return []
        return [
            gradcheck(partial(_call, case, side), case.tensors(), elements=ELEMENTS, raise_exception=False)
            for side in pair
        ]

    def apart() -> tuple[float, str]:
        distance, problem = 0.0, ""
        for dtype in ALLOWED:
            got, expected = (case.run(side, dtype) for side in pair)
            far, wrong = _distance([got[0], *got[1]], [expected[0], *expected[1]], dtype)
            distance = max(distance, far) if dtype is np.float64 else distance
            if wrong:
                problem = f"fused and composed differ by {far:.1e} in {np.dtype(dtype)} ({case.name})"
        return distance, problem

    return slopes, apart


def _call(case: Case, side: Callable[..., Tensor], *inputs: Any) -> Tensor:
    return case.call(side, inputs)


def _of_module(case: ModuleCase) -> tuple[Callable[[], list[GradcheckReport]], Callable[[], tuple[float, str]]]:
    def slopes() -> list[GradcheckReport]:
        module = made(case)
        inputs = [Tensor(x, requires_grad=x.dtype.kind == "f") for x in case.inputs]
        parameters = dict(module.named_parameters())
        return [
            gradcheck(
                lambda *inputs: case.call(module, *inputs),
                inputs,
                parameters=parameters,
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

    def apart() -> tuple[float, str]:
        got = run()
        with composed_ops():
            expected = run()
        far, wrong = _distance(got, expected, np.float64)
        return far, f"fused and composed differ by {far:.1e}" if wrong else ""

    return slopes, apart


def _distance(got: Sequence[Array | None], expected: Sequence[Array | None], dtype: Any) -> tuple[float, bool]:
    """The largest difference of two lists of arrays, relative to numbers of 1 and more, and whether it is too large."""
    absolute, relative = ALLOWED[dtype]
    farthest, wrong = 0.0, False
    for one, other in zip(got, expected, strict=True):
        if one is None or other is None:
            wrong |= one is not other
            continue
        same = (one == other) | (np.isnan(one) & np.isnan(other))
        with np.errstate(invalid="ignore"):
            difference = np.where(same, 0.0, np.abs(one - other))
        size = np.where(same, 0.0, np.abs(other))
        wrong |= not bool((difference <= absolute + relative * size).all()) or one.dtype != other.dtype
        far = difference / np.maximum(1.0, size)
        farthest = max(farthest, float(np.where(np.isnan(far), np.inf, far).max(initial=0.0)))
    return farthest, wrong


# -- showing it

HEAD = ("what", "name", "cases", "slopes", "exact", "worst slope", "fused beside composed", "")


def row(proof: Proof) -> tuple[str, ...]:
    """The cells of a line, in the order of HEAD."""
    return (
        proof.group,
        proof.name,
        str(proof.cases),
        str(proof.slopes),
        str(proof.exact),
        f"{proof.worst_slope:.1e}",
        "" if proof.worst_fused is None else f"{proof.worst_fused:.1e}",
        "ok" if proof.ok else "WRONG",
    )


def as_json(proofs: Sequence[Proof]) -> dict[str, Any]:
    return {"ok": all(proof.ok for proof in proofs), "proofs": [asdict(proof) for proof in proofs]}


EXPLANATION = (
    "A gradient says how much the result changes when an input is moved a little. So it can be measured: move the "
    "input, look at the result, and compare the slope with what backward says. Worst slope is the largest relative "
    "difference found; exact counts the slopes measured by the complex step, which has no error of its own, the others "
    "by central differences. A fused op is also held beside its definition, written in primitives."
)


def as_html(proofs: Sequence[Proof]) -> str:
    """The proof as a page of its own, without scripts."""
    wrong = [proof for proof in proofs if not proof.ok]
    verdict = f"{len(wrong)} of {len(proofs)} are wrong" if wrong else f"All {len(proofs)} hold"
    head = "".join(f'<th scope="col">{html.escape(cell) or "verdict"}</th>' for cell in HEAD)
    lines = []
    for proof in proofs:
        cells = "".join(f"<td>{html.escape(cell)}</td>" for cell in row(proof))
        lines.append(f'<tr class="{"ok" if proof.ok else "wrong"}">{cells}</tr>')
        if proof.problem:
            lines.append(f'<tr class="wrong"><td colspan="{len(HEAD)}">{html.escape(proof.problem)}</td></tr>')
    return PAGE.format(
        verdict=verdict,
        explanation=html.escape(EXPLANATION),
        head=head,
        lines="\n".join(lines),
        cases=sum(proof.cases for proof in proofs),
        slopes=sum(proof.slopes for proof in proofs),
    )


PAGE = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{verdict}: the gradients of tinygrad_llm</title>
<style>
:root {{ color-scheme: light dark; }}
body {{ font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; }}
table {{ border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; }}
th {{ text-align: left; border-bottom: 2px solid; vertical-align: bottom; }}
th, td {{ padding: .2rem .6rem .2rem 0; }}
td {{ border-bottom: 1px solid color-mix(in srgb, currentColor 15%, transparent); }}
td:nth-child(n+3):nth-child(-n+7), th:nth-child(n+3):nth-child(-n+7) {{ text-align: right; }}
td:last-child, th:last-child {{ padding-left: .6rem; padding-right: 0; }}
tr.wrong {{ background: light-dark(#ffd9d6, #5c1a16); font-weight: 600; }}
</style>
<h1>{verdict}</h1>
<p>{explanation}</p>
<p>{cases} cases, {slopes} slopes.</p>
<table>
<thead><tr>{head}</tr></thead>
<tbody>
{lines}
</tbody>
</table>
</html>
"""
