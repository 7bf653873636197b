"""Find the operation that first produced NaN or infinity, or whose saved values were changed.

>>> from tinygrad_llm import Tensor
>>> from tinygrad_llm.errors import AnomalyError
>>> p = Tensor([0.5, 0.0], requires_grad=True)
>>> try:
...     with detect_anomaly():
...         loss = -(p * p.log()).sum()
... except AnomalyError as error:
...     print(str(error).split(";")[0])
detect_anomaly: `log` made infinity at [1] (1 of 2 elements) from finite operands (2,)
"""

from __future__ import annotations

import sys
import weakref
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import NamedTuple

import numpy as np

from tinygrad_llm.arrays import Array
from tinygrad_llm.errors import AnomalyError, GraphError
from tinygrad_llm.graph import Backward, Gradients, Node, observe
from tinygrad_llm.tensor import Tensor

PACKAGE = str(Path(__file__).parent)
NUMPY = str(Path(np.__file__).parent)  # its errstate decorates operations
ENGINE = (
    NUMPY,
    *(str(Path(PACKAGE, part)) for part in ("primitives", "ops", "functions", "graph.py", "tensor.py", "anomaly.py")),
)

# Operations that insert a value given by the caller: the -infinity of a mask is intended.
PLACES_VALUES = frozenset({"masked_fill", "pad"})

USUAL_CAUSES = {
    "log": "the logarithm of 0 or of a negative number: clip its operand, or use log_softmax or logsumexp",
    "sqrt": "the root of a negative number, or the slope at 0, which is infinite: add a small eps under the root",
    "div": "a division by 0: add a small eps to the divisor",
    "pow": "0 or a negative number to a power that it does not have: add a small eps to the base",
    "exp": "the exponential of a number above 88 (float32) or 709 (float64): subtract the largest first",
    "mean": "the mean of no elements",
    "var": "the variance of fewer elements than `correction` needs",
}


@contextmanager
def detect_anomaly() -> Iterator[None]:
    """Raise at the first NaN or infinity, forward or backward. For debugging: it reads every array several times.

    Forward, an operation that makes NaN, or infinity from finite operands (the -infinity of a mask is no anomaly).
    Backward, one that turns a finite gradient into NaN or infinity. Also a write by NumPy into the `.data` of a Tensor
    between the forward that recorded it and the backward that needs it: both must run inside the block.

    Raises: AnomalyError for numbers, GraphError for writes; each names the operation, the operand and the line of code.
    """
    with observe(_Detector()):
        yield


class _Fingerprint(NamedTuple):
    """The checksum of an operand at the time of the forward, with weak references to its Tensor and array."""

    name: str
    shape: tuple[int, ...]
    checksum: int
    tensor: weakref.ref[Tensor]
    array: weakref.ref[Array]

    def changed(self) -> bool:
        tensor, array = self.tensor(), self.array()  # the array may have been written into, or exchanged for another
        now = [data for data in (array, None if tensor is None else tensor.data) if data is not None]
        return any(data.shape != self.shape or _checksum(data) != self.checksum for data in now)


class _Made(NamedTuple):
    """The line of code and the operands of one recorded operation."""

    place: str
    operands: tuple[_Fingerprint, ...]


class _Detector:
    def __init__(self) -> None:
        # A node's backward is what the walk drops when it has passed, and then the entry goes too.
        self.made: weakref.WeakKeyDictionary[Backward, _Made] = weakref.WeakKeyDictionary()

    def recorded(self, output: Tensor, parents: Sequence[Tensor]) -> None:
        frame = sys._getframe(2)  # recorded <- record <- the operation
        node = output.node
        name = frame.f_code.co_name.strip("_") if node is None else node.name
        if not _is_finite(output.data):
            _judge_forward(name, frame, output.data, parents)
        if node is not None and node.backward is not None:
            operands = [(f"operand {i}", parent) for i, parent in enumerate(parents)]
            fingerprints = tuple(
                _Fingerprint(of, x.shape, _checksum(x.data), weakref.ref(x), weakref.ref(x.data))
                for of, x in [*operands, ("the result", output)]
            )
            self.made[node.backward] = _Made(_place(frame), fingerprints)

    def before_backward(self, node: Node, dy: Array) -> None:
        made = self._made_by(node)
        for operand in made.operands:
            if operand.changed():
                raise GraphError(
                    f"detect_anomaly: what an operation read must stay as it was until its backward has run; "
                    f"{operand.name} of `{node.name}`, shape {operand.shape}, was written into after the forward; "
                    f"{made.place}; write into a copy, or after backward"
                )
        if not _is_finite(dy):
            raise AnomalyError(
                f"detect_anomaly: the gradient that arrived at `{node.name}` holds {_what_and_where(dy)}, though every "
                f"gradient before it was finite; {made.place}; finite gradients overflowed in their sum, or backward "
                "was started with it"
            )

    def after_backward(self, node: Node, gradients: Gradients) -> None:
        for i, gradient in enumerate(gradients):
            if gradient is not None and not _is_finite(gradient):
                raise AnomalyError(
                    f"detect_anomaly: the backward of `{node.name}` made {_what_and_where(np.asarray(gradient))} in "
                    f"the gradient of operand {i}, from a finite gradient; {self._made_by(node).place}"
                    f"{_usual_cause(node.name)}"
                )

    def _made_by(self, node: Node) -> _Made:
        known = None if node.backward is None else self.made.get(node.backward)
        return known or _Made("it was recorded before detect_anomaly began", ())


def _judge_forward(name: str, frame: FrameType, result: Array, parents: Sequence[Tensor]) -> None:
    """Raise AnomalyError if this operation produced the NaN or infinity of its result."""
    for i, parent in enumerate(parents):
        if np.isnan(parent.data).any() or (parent.collects_gradient and not _is_finite(parent.data)):
            raise AnomalyError(
                f"detect_anomaly: operand {i} of `{name}` came in holding {_what_and_where(parent.data)}; "
                f"{_place(frame)}; the data, a loaded weight or an optimizer step before this one made it"
            )
    from_finite = all(_is_finite(parent.data) for parent in parents)
    if np.isnan(result).any() or (from_finite and name not in PLACES_VALUES):
        shapes = ", ".join(str(parent.shape) for parent in parents)
        raise AnomalyError(
            f"detect_anomaly: `{name}` made {_what_and_where(result)} from "
            f"{'finite' if from_finite else 'infinite'} operands {shapes}; {_place(frame)}{_usual_cause(name)}"
        )


def _usual_cause(name: str) -> str:
    return f"; usually {USUAL_CAUSES[name]}" if name in USUAL_CAUSES else ""


def _is_finite(array: Array) -> bool:
    return bool(np.isfinite(array).all())


def _what_and_where(array: Array) -> str:
    """The kind of the bad numbers, NaN before infinity, and where the first of them is."""
    kind, bad = ("NaN", np.isnan(array)) if np.isnan(array).any() else ("infinity", ~np.isfinite(array))
    first = [int(i) for i in np.argwhere(bad)[0]]
    return f"{kind} at {first} ({np.count_nonzero(bad)} of {array.size} elements)"


def _checksum(array: Array) -> int:
    return zlib.crc32(np.ascontiguousarray(array).data.cast("B") if array.size else b"")


def _place(frame: FrameType | None) -> str:
    """The line that called the operation, and the line outside the package that led there."""
    inside = ""
    while frame is not None and (file := frame.f_code.co_filename).startswith((PACKAGE, NUMPY)):
        if not inside and not file.startswith(ENGINE):
            inside = f"{_line(frame)}, "
        frame = frame.f_back
    return f"called at {inside}{_line(frame)}" if frame is not None else f"called at {inside}".rstrip(", ")


def _line(frame: FrameType) -> str:
    path = Path(frame.f_code.co_filename)
    shown = path.relative_to(Path(PACKAGE).parent) if path.is_relative_to(PACKAGE) else path.name
    return f"{shown}:{frame.f_lineno} in {frame.f_code.co_name}"
