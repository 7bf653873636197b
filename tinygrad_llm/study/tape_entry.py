"""One operation on the tape: what it read and computed, the gradients of its backward, and its description as text."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from tinygrad_llm.arrays import Array
from tinygrad_llm.study.formatting import format_bytes, format_time, terminal_width, wrap
from tinygrad_llm.study.operation_source import OperationCode


class Summary(NamedTuple):
    """Statistics of an array, over its finite elements; NaN and infinity count in `not_finite` only.

    `zeros` and `not_finite` are fractions of all elements, `norm` is √Σ x². `largest` is the element of the largest
    magnitude, at index `largest_at`; NaN and None where no element is finite. Complex numbers count by magnitude.
    """

    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    mean: float
    std: float
    min: float
    max: float
    norm: float
    zeros: float
    not_finite: float
    largest: float
    largest_at: tuple[int, ...] | None


def summarize(x: Array) -> Summary:
    """Statistics of the elements of x; see `Summary`."""
    values = np.asarray(np.abs(x) if x.dtype.kind == "c" else x, dtype=np.float64).ravel()
    is_finite = np.isfinite(values)
    finite = values if is_finite.all() else values[is_finite]
    fraction = 1 / max(values.size, 1)
    zeros, not_finite = np.count_nonzero(values == 0) * fraction, (values.size - finite.size) * fraction
    if not finite.size:
        nan = math.nan
        return Summary(x.shape, x.dtype, nan, nan, nan, nan, nan, zeros, not_finite, nan, None)
    at = int(np.argmax(np.where(is_finite, np.abs(values), -1)))
    index = tuple(int(i) for i in np.unravel_index(at, x.shape))
    with np.errstate(over="ignore", invalid="ignore"):
        norm = math.sqrt(float(finite @ finite))
        spread = float(finite.mean()), float(finite.std()), float(finite.min()), float(finite.max())
    return Summary(x.shape, x.dtype, *spread, norm, zeros, not_finite, float(values[at]), index)


class Operand(NamedTuple):
    """A Tensor that an operation read; `name` is the operation's own variable for it.

    It is the output of the entry `made_by`, or the model's parameter of that path, or neither: an input or constant.
    """

    name: str
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    made_by: int | None
    parameter: str | None


class BackwardCall(NamedTuple):
    """One call of an operation's backward: `dy`, the incoming gradient, and each operand's gradient, or None.

    `at_largest` has a dict for each outgoing gradient: at the index of its largest element, the values of the arrays
    of the same shape that the graph still held (incoming gradient, operands, output). Units: seconds.
    """

    seconds: float
    incoming: str  # the formula's name of the incoming gradient, such as dy
    dy: Summary
    gradients: tuple[Summary | None, ...]
    at_largest: tuple[dict[str, float], ...]


@dataclass
class Entry:
    """One operation.

    `module` is the path of the innermost module that the operation ran in: "" for the model itself, None outside of
    any module; `modules` are all of them, outermost first. `source` is the line of code that called the operation or,
    where that line is in a layer of `nn` without sublayers, the line that called the layer.

    `seconds` is the time since the operation before, without the tape's own work: the operation and the module's code
    that led to it. `bytes_made` is the size of the output, 0 for a view. `bytes_kept` is the size of the arrays that
    its backward keeps and no earlier backward does, without parameters.

    `backward` is the last call of its backward, or None. `arrays` are copies of operands, output and gradients by
    name, where the tape keeps arrays; `code` is where its source is.
    """

    index: int
    name: str
    module: str | None
    modules: tuple[str, ...]
    source: str
    operands: tuple[Operand, ...]
    output: Summary
    differentiable: bool
    seconds: float
    bytes_made: int
    bytes_kept: int
    formula: str
    backward: BackwardCall | None = None
    arrays: dict[str, Array] = field(default_factory=dict, repr=False)
    code: OperationCode | None = field(default=None, repr=False)

    @property
    def shape(self) -> tuple[int, ...]:
        return self.output.shape

    @property
    def dtype(self) -> np.dtype[Any]:
        return self.output.dtype

    def __str__(self) -> str:
        return self.describe(terminal_width())

    def describe(self, width: int, prefix: str = "") -> str:
        """Formula, operands, output and gradients as text, in lines of at most `width` columns."""
        module = "no module" if self.module is None else self.module or "the model itself"
        lines = wrap(f"{prefix}#{self.index} {self.name}, in {module}, called at {self.source}", width)
        for line in self.formula.splitlines():
            lines += wrap(f"    {line}", width)
        kept = f", {format_bytes(self.bytes_kept)} kept for backward" if self.differentiable else ""
        lines.append(f"  forward   {format_time(self.seconds)}, {format_bytes(self.bytes_made)} made{kept}")
        rows = [(x.name, x.shape, _origin(x)) for x in self.operands]
        output = "output" if self.backward is None else self.backward.incoming.removeprefix("d")
        lines += _aligned([*rows, (output, self.shape, _statistics(self.output))], width)
        if self.backward is not None:
            lines += self._describe_backward(self.backward, width)
        return "\n".join(lines)

    def _describe_backward(self, call: BackwardCall, width: int) -> list[str]:
        rows = [(call.incoming, call.dy.shape, f"norm {call.dy.norm:<9.4g} incoming")]
        examples = []
        for x, gradient, values in zip(self.operands, call.gradients, call.at_largest, strict=True):
            if gradient is None:
                continue
            rows.append((f"d{x.name}", gradient.shape, f"norm {gradient.norm:<9.4g} to {_origin(x)}"))
            if gradient.largest_at is not None:
                example = f"    largest element d{x.name}{list(gradient.largest_at)} = {gradient.largest:.4g}"
                same_index = ", ".join(f"{name} = {value:.4g}" for name, value in values.items())
                examples += wrap(example + (f"; at this index {same_index}" if same_index else ""), width)
        return [f"  backward  {format_time(call.seconds)}", *_aligned(rows, width), *examples]


def _aligned(rows: Sequence[tuple[str, tuple[int, ...], str]], width: int) -> list[str]:
    names, shapes = max(len(name) for name, _, _ in rows), max(len(str(shape)) for _, shape, _ in rows)
    lines = [f"    {name:{names}}  {shape!s:{shapes}}  {rest}" for name, shape, rest in rows]
    return [piece for line in lines for piece in ([line] if len(line) <= width else wrap(line, width))]


def _origin(x: Operand) -> str:
    if x.made_by is not None:
        return f"#{x.made_by}"
    return x.parameter or "an input"


def _statistics(x: Summary) -> str:
    if math.prod(x.shape) == 1:
        return f"{x.mean:.6g}"
    parts = [f"mean {x.mean:.3g}, std {x.std:.3g}, {x.min:.3g} to {x.max:.3g}"]
    if x.zeros >= 0.005:
        parts.append(f"{x.zeros:.0%} zero")
    if x.not_finite:
        parts.append(f"{x.not_finite:.0%} not finite")
    return ", ".join(parts)
