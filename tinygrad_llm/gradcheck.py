"""Check gradients: compare backward with finite differences of the function.

Each case perturbs one Tensor along a direction u of length 1, an axis (one element) or a dense direction, and compares
the slope of f(x) = Σ cotangent ⊙ output with ⟨df/dx, u⟩ from backward. Two independent measurements of the slope:

    central differences   (f(x₊) - f(x₋)) / |x₊ - x₋|,  x± = x ± eps·u     for every function; good to about 1e-10
    complex step          Im f(x + i h u) / h,  h = 1e-20                  for analytic ones; good to the last digit

The complex step (Squire and Trapp 1998, doi:10.1137/S003614459631241X) subtracts nothing, so nothing cancels. It fails
where a function drops the imaginary part, as abs does; so it is used only where it agrees with central differences.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import numpy as np

from tinygrad_llm.arrays import Array
from tinygrad_llm.errors import ConfigError, DTypeError, GradcheckError, GraphError, TinygradLLMError
from tinygrad_llm.graph import no_grad, record_operation
from tinygrad_llm.tensor import Tensor

Method: TypeAlias = Literal["auto", "central", "complex"]
Used: TypeAlias = Literal["central", "complex"]
Cases: TypeAlias = Literal["elements", "directions"]
Outputs: TypeAlias = "Callable[[], list[Tensor]]"

COMPLEX_STEP = 1e-20  # so small that it changes no real part, and Im f / h has no truncation error
COMPLEX_IS_TIGHTER = 1e-3  # the complex step is exact, so the allowed difference shrinks by this factor
COMPLEX_TRUST = 1e-4  # the relative difference from central differences up to which the complex step is used


@dataclass(frozen=True)
class GradientComparison:
    """One Tensor's gradient against the measured slopes.

    `by` is "elements" where each element was moved on its own, else "directions". `worst_relative` divides by the
    measured slope, or by atol / rtol where that is larger: below it, only the absolute difference counts.
    """

    name: str
    shape: tuple[int, ...]
    method: Used
    by: Cases
    cases: int
    worst_absolute: float
    worst_relative: float
    worst_index: tuple[int, ...]
    problem: str | None = None

    def row(self) -> tuple[str, ...]:
        """Its line of the report's table."""
        return (
            self.name,
            str(self.shape),
            self.method,
            f"{self.cases} {self.by}",
            f"{self.worst_absolute:.1e}",
            f"{self.worst_relative:.1e}",
            "ok" if self.problem is None else "WRONG",
        )


@dataclass(frozen=True)
class GradcheckReport:
    """The result of `gradcheck`: one GradientComparison per Tensor, and the problems. `print(report)` shows a table."""

    function: str
    comparisons: tuple[GradientComparison, ...]
    problems: tuple[str, ...]

    @property
    def ok(self) -> bool:
        return not self.problems

    @property
    def cases(self) -> int:
        """The number of slopes that were measured."""
        return sum(comparison.cases for comparison in self.comparisons)

    @property
    def worst_absolute(self) -> float:
        return max((comparison.worst_absolute for comparison in self.comparisons), default=0.0)

    @property
    def worst_relative(self) -> float:
        return max((comparison.worst_relative for comparison in self.comparisons), default=0.0)

    def __str__(self) -> str:
        head = ("gradient of", "shape", "method", "cases", "absolute", "relative", "")
        rows = [head, *(comparison.row() for comparison in self.comparisons)]
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in rows]
        return "\n".join([f"gradcheck: {self.function}", *map(str.rstrip, lines), *self.problems])


def gradcheck(
    function: Callable[..., Tensor | Sequence[Tensor]],
    inputs: Sequence[Any] | Tensor = (),
    *,
    parameters: Mapping[str, Tensor] | Iterable[Tensor] = (),
    method: Method = "auto",
    eps: float = 1e-5,
    atol: float = 1e-7,
    rtol: float = 1e-6,
    elements: int = 256,
    directions: int = 3,
    raise_exception: bool = True,
) -> GradcheckReport:
    """Compare the gradients of `function(*inputs)` with finite differences, in float64.

        |⟨gradient, u⟩ - slope along u| ≤ atol + rtol · |slope|        for every direction u that is tried

    `inputs` are passed on as float64 copies; those with requires_grad are checked. `parameters` are Tensors that the
    function reads by itself, such as `dict(model.named_parameters())`: checked as well, in float64, and restored
    afterwards. A Tensor of up to `elements` elements is moved element by element, a larger one along `directions` dense
    directions. An output that is not a single number is contracted with fixed weights of both signs, so that exchanged
    outputs are noticed. With `method="auto"` the complex step decides where it can be trusted (and then at a thousandth
    of the tolerances), else central differences; "central" and "complex" insist on one.

    Also found: a function that gives other numbers when called again, changes its inputs, leaves float64, or makes NaN.

        >>> from tinygrad_llm import Tensor
        >>> x = Tensor([[0.5, -1.0], [2.0, 0.25]], requires_grad=True)
        >>> report = gradcheck(lambda x: (x @ x).tanh(), [x])
        >>> report.ok, report.cases, report.comparisons[0].method
        (True, 4, 'complex')

    Raises: GradcheckError naming the worst element, unless `raise_exception=False`, which returns the report;
            ConfigError if no input or parameter requires a gradient
    """
    if method not in ("auto", "central", "complex"):
        raise ConfigError(f'gradcheck: method must be "auto", "central" or "complex"; got {method!r}')
    name = getattr(function, "__name__", type(function).__name__)
    named = parameters if isinstance(parameters, Mapping) else {f"parameter {i}": p for i, p in enumerate(parameters)}
    with _float64(named.values()):
        arguments, copies = _float64_arguments(inputs, named.values())
        tensors = _distinct_tensors({**copies, **named})
        checked = {at: tensor for at, tensor in tensors.items() if tensor.requires_grad}
        if not checked:
            raise ConfigError(
                "gradcheck: nothing to check; at least one input or parameter must have requires_grad=True"
            )

        def outputs() -> list[Tensor]:
            result = function(*arguments)
            return [result] if isinstance(result, Tensor) else list(result)

        problems, cotangents = _walk_backward(outputs, tensors)
        comparisons: list[GradientComparison] = []
        if not problems:
            for at, tensor in checked.items():
                measured = _Measurement(outputs, list(tensors.values()), cotangents, tensor, eps, atol)
                by: Cases = "elements" if tensor.size <= elements else "directions"
                tried = _axes(tensor.shape) if by == "elements" else _dense(tensor.shape, directions)
                comparisons.append(_compare(at, tensor, measured, by, tried, method, atol, rtol))
            problems = [one.problem for one in comparisons if one.problem is not None]
    report = GradcheckReport(name, tuple(comparisons), tuple(problems))
    if raise_exception and not report.ok:
        raise GradcheckError(f"gradcheck: {name}: " + "\n".join(problems))
    return report


# -- the Tensors, in float64


@contextmanager
def _float64(parameters: Iterable[Tensor]) -> Iterator[None]:
    """Inside, each parameter has a float64 copy of its array and no gradient; afterwards, its own again."""
    lent = [(parameter, parameter.data, parameter.grad) for parameter in parameters]
    try:
        for parameter, data, _ in lent:
            if parameter.node is not None:
                raise ConfigError("gradcheck: parameters must be leaves; pass a computed Tensor as an input")
            parameter.data, parameter.grad = data.astype(np.float64) if data.dtype.kind == "f" else data, None
        yield
    finally:
        for parameter, data, grad in lent:
            parameter.data, parameter.grad = data, grad


def _float64_arguments(
    inputs: Sequence[Any] | Tensor, parameters: Iterable[Tensor]
) -> tuple[list[Any], dict[str, Tensor]]:
    """The inputs with copies for Tensors (one copy for a Tensor that is passed twice), and those copies by name."""
    copy_of = {id(parameter): parameter for parameter in parameters}
    arguments: list[Any] = []
    named: dict[str, Tensor] = {}
    for i, value in enumerate([inputs] if isinstance(inputs, Tensor) else inputs):
        if isinstance(value, Tensor):
            if id(value) not in copy_of:
                dtype = np.float64 if value.dtype.kind == "f" else value.dtype
                named[f"input {i}"] = copy_of[id(value)] = Tensor(
                    np.array(value.data, dtype=dtype, order="C"), requires_grad=value.requires_grad
                )
            value = copy_of[id(value)]
        arguments.append(value)
    return arguments, named


def _distinct_tensors(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The parameters by name, each shared parameter once."""
    name_of: dict[int, str] = {}
    return {at: tensor for at, tensor in tensors.items() if name_of.setdefault(id(tensor), at) == at}


# -- the analytic side


def _walk_backward(outputs: Outputs, tensors: Mapping[str, Tensor]) -> tuple[list[str], list[Array | None]]:
    """Run forward twice and backward once, filling `.grad`. Returns the problems, and a cotangent per float output."""
    before = {at: tensor.data.copy() for at, tensor in tensors.items()}
    results = outputs()
    first = [result.data.copy() for result in results]
    cotangents = [spread(result.shape, i) if result.dtype.kind in "fc" else None for i, result in enumerate(results)]
    problems = [
        f"output {i} is {result.dtype} for float64 inputs; nothing in the function may leave float64"
        for i, result in enumerate(results)
        if result.dtype.kind in "fc" and result.dtype != np.float64
    ]
    problems += [
        f"output {i} is not finite: a slope cannot be measured there; move the inputs"
        for i, numbers in enumerate(first)
        if not np.isfinite(numbers).all()
    ]
    if all(cotangent is None for cotangent in cotangents):
        raise DTypeError(f"gradcheck: the function must return floats; got {[str(y.dtype) for y in results]}")

    def contract(dy: Array) -> list[Array | None]:
        return [None if weight is None else weight * dy for weight in cotangents]

    total = record_operation(np.zeros(()), results, contract)  # only its gradient is used, not its value
    try:
        if total.requires_grad:
            total.backward()
    except GraphError as error:  # a gradient of the wrong shape, or too few of them
        problems.append(str(error))
    except ValueError as error:
        if "read-only" not in str(error):
            raise
        problems.append(f"a backward wrote into dy, which other branches may hold ({error})")
    changed = [at for at, numbers in before.items() if not np.array_equal(numbers, tensors[at].data, equal_nan=True)]
    problems += [f"{at} was changed by the function or its backward; an input must stay as it is" for at in changed]
    with no_grad():
        again = [result.data for result in outputs()]
    if not changed and not all(map(_same, first, again)):
        problems.append("the function gave other numbers when called again; switch dropout off, or seed it inside")
    return problems, cotangents


def _same(first: Array, again: Array) -> bool:
    """Equal up to rounding, in which BLAS may differ with the alignment of the memory."""
    return first.shape == again.shape and np.allclose(first, again, rtol=1e-9, atol=1e-12, equal_nan=True)


# -- the measured side


@dataclass(frozen=True)
class _Measurement:
    """The measured slope of Σ cotangent ⊙ output as one Tensor is perturbed."""

    outputs: Outputs
    tensors: list[Tensor]  # all of them: the complex step must find every array complex
    cotangents: list[Array | None]
    moved: Tensor
    eps: float
    atol: float

    def central(self, direction: Array) -> tuple[Array, float]:
        """The direction of the perturbation after rounding to floats, of length 1, and the slope along it."""
        x = self.moved.data
        reach = float(np.abs(x[direction != 0]).max(initial=1.0))  # a large number needs a larger step
        step = direction * (self.eps * reach)
        ahead, behind = x + step, x - step
        length = math.sqrt(float(np.square(ahead - behind).sum()))
        try:
            self.moved.data = ahead
            up = [y.copy() for y in self._run()]
            self.moved.data = behind
            down = self._run()
        finally:
            self.moved.data = x
        # Differences first, then the sum: outputs that did not move cancel exactly.
        return (ahead - behind) / length, self._contracted([a - b for a, b in zip(up, down, strict=True)]) / length

    def complex_step(self, direction: Array) -> float:
        """The slope along the direction, if the function is analytic. Raises whatever it raises on complex numbers."""
        real = [tensor.data for tensor in self.tensors]
        try:
            for tensor in self.tensors:
                if tensor.data.dtype.kind == "f":
                    tensor.data = tensor.data.astype(np.complex128)
            self.moved.data = self.moved.data + direction * (1j * COMPLEX_STEP)
            with np.errstate(all="ignore"), warnings.catch_warnings():
                warnings.simplefilter("error", np.exceptions.ComplexWarning)
                results = self._run()
        finally:
            for tensor, data in zip(self.tensors, real, strict=True):
                tensor.data = data
        return self._contracted([result.imag for result in results]) / COMPLEX_STEP

    def complex_steps(self, directions: list[Array], central: Array) -> Array | None:
        """All slopes by complex step; None where the function is not analytic."""
        slopes = np.empty(len(directions))
        for i, direction in enumerate(directions):
            try:
                slopes[i] = self.complex_step(direction)
            except (TypeError, ValueError, ArithmeticError, TinygradLLMError, np.exceptions.ComplexWarning):
                return None
            if not abs(slopes[i] - central[i]) <= self.atol + COMPLEX_TRUST * abs(central[i]):
                return None
        return slopes

    def _run(self) -> list[Array]:
        with no_grad():
            return [result.data for result in self.outputs()]

    def _contracted(self, arrays: list[Array]) -> float:
        pairs = zip(self.cotangents, arrays, strict=True)
        return math.fsum(float(np.sum(weight * array)) for weight, array in pairs if weight is not None)


def _compare(
    at: str,
    tensor: Tensor,
    measured: _Measurement,
    by: Cases,
    tried: Iterable[Array],
    method: Method,
    atol: float,
    rtol: float,
) -> GradientComparison:
    """All cases of one Tensor: the gradient of backward, the measured slopes, and their largest difference."""
    cases = [measured.central(direction) for direction in tried]
    moved, numeric = [direction for direction, _ in cases], np.array([slope for _, slope in cases])
    used: Used = "central"
    if method == "complex":
        numeric, used = np.array([measured.complex_step(direction) for direction in moved]), "complex"
    elif method == "auto" and (exact := measured.complex_steps(moved, numeric)) is not None:
        numeric, used = exact, "complex"
    if used == "complex":
        atol, rtol = atol * COMPLEX_IS_TIGHTER, rtol * COMPLEX_IS_TIGHTER
    gradient = np.zeros(tensor.shape) if tensor.grad is None else tensor.grad
    analytic = np.array([float((gradient * direction).sum()) for direction in moved])

    difference, allowed = np.abs(analytic - numeric), atol + rtol * np.abs(numeric)
    relative = difference / np.maximum(np.abs(numeric), atol / rtol if rtol else np.inf)
    wrong = ~(difference <= allowed)  # written so that NaN counts as wrong
    worst, problem = 0, None
    index: tuple[int, ...] = ()
    if moved:
        worst = int(np.where(np.isnan(difference), np.inf, difference - allowed).argmax())
        index = tuple(map(int, np.unravel_index(worst, tensor.shape))) if by == "elements" else (worst,)
    if wrong.any():
        place = f"element {list(index)}" if by == "elements" else f"direction {worst}"
        oracle = "the complex step" if used == "complex" else "central differences"
        problem = (
            f"the gradient of {at}, shape {tensor.shape}, is wrong in {wrong.sum()} of {wrong.size} {by}; worst at "
            f"{place}: backward says {analytic[worst]:.9g}, {oracle} {numeric[worst]:.9g} (allowed difference "
            f"{allowed[worst]:.1e}); {_usual_cause(tensor, analytic, numeric, allowed)}"
        )
    return GradientComparison(
        name=at,
        shape=tensor.shape,
        method=used,
        by=by,
        cases=len(moved),
        worst_absolute=float(difference.max(initial=0.0)),
        worst_relative=float(relative.max(initial=0.0)),
        worst_index=index,
        problem=problem,
    )


def _usual_cause(tensor: Tensor, analytic: Array, numeric: Array, allowed: Array) -> str:
    """A guess at the cause, from the pattern of the differences."""

    def explains(repaired: Array) -> bool:
        return bool((np.abs(repaired - numeric) <= 1e3 * allowed).all())

    if tensor.grad is None:
        return "no gradient arrived at all: a backward returned None, or the graph was cut by detach, no_grad or .data"
    if not np.isfinite(analytic).all():
        return "NaN or infinity in the gradient: a division by 0, or 0 · ∞"
    if not np.isfinite(numeric).all():
        return "the function is not finite next to its input; move the input"
    if not analytic.any():
        return "the gradient is zero everywhere: the backward forgot this parent, or a closure returned zeros"
    if explains(-analytic):
        return "the sign is reversed"
    factor = float((analytic * numeric).sum() / np.square(numeric).sum()) if numeric.any() else 0.0
    if factor and explains(analytic / factor):
        return f"it is {factor:.6g} times what it should be: a factor is missing, or a gradient is counted twice"
    if analytic.size == tensor.size and tensor.ndim >= 2 and tensor.shape[-1] == tensor.shape[-2]:
        turned = analytic.reshape(tensor.shape).swapaxes(-1, -2)
        if explains(turned.reshape(-1)):
            return "it is transposed"
    if (np.abs(analytic - numeric) <= allowed).any():
        return (
            "only some are wrong: an element read more than once and assigned instead of accumulated, a mask or an "
            "edge forgotten, or an input that lies at a kink, where no slope exists"
        )
    return "usual causes: a term of the chain rule forgotten, a broadcast not summed, a saved value overwritten"


# -- directions and weights


def _axes(shape: tuple[int, ...]) -> Iterator[Array]:
    for i in range(math.prod(shape)):
        axis = np.zeros(shape)
        axis.reshape(-1)[i] = 1.0
        yield axis


def _dense(shape: tuple[int, ...], count: int) -> Iterator[Array]:
    for seed in range(count):
        direction = spread(shape, seed)
        yield direction / math.sqrt(float(np.square(direction).sum()))


def spread(shape: tuple[int, ...], seed: int) -> Array:
    """Numbers of both signs with absolute values in [0.5, 1.5), no two alike, the same on every machine.

    SplitMix64 (Steele et al. 2014, doi:10.1145/2660193.2660195) of the element's number.
    """
    bits = np.arange(math.prod(shape), dtype=np.uint64) + np.uint64((seed + 1) << 32)
    bits *= np.uint64(0x9E3779B97F4A7C15)
    for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
        bits ^= bits >> np.uint64(shift)
        bits *= np.uint64(factor)
    bits ^= bits >> np.uint64(31)
    sizes = 0.5 + (bits >> np.uint64(11)) * 2.0**-53
    return np.where(bits & np.uint64(1), sizes, -sizes).reshape(shape)
