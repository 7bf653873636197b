"""Measure a gradient: move one element of an operation's operand or output, and see how the loss changes.

The model is copied to float64. The slope is a central difference, (L(x + e) - L(x - e)) / 2e; beside it stands what
backward says of the same element in float64. An operand is moved for this operation alone, between the one before and
itself, as its outgoing gradient counts this one use; an output is moved for all that follows.
"""

from __future__ import annotations

import copy
import dataclasses
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tinygrad_llm.arrays import Array
from tinygrad_llm.errors import ConfigError
from tinygrad_llm.graph import Gradients, Node, observe
from tinygrad_llm.lab.backward import Recording
from tinygrad_llm.study.tape_entry import Entry
from tinygrad_llm.tensor import Tensor

STEP = 1e-5  # of the difference, for elements up to 1; larger ones are moved in proportion


@dataclass(frozen=True)
class _Element:
    """One element of the output of operation `index` or, with `place`, of its operand there.

    The operand is a parameter of the model, or the output of an earlier operation: `source`.
    """

    index: int
    element: tuple[int, ...]
    place: int | None = None
    source: Tensor | int | None = None


class _Probe:
    """Observes a forward, and perhaps its backward: moves the element by `shift`, reads what backward says of it.

    `uses` counts the operands that are the Tensor which is moved: x * x reads it twice, and both are moved.
    """

    def __init__(self, target: _Element, shift: float = 0.0) -> None:
        self.target, self.shift = target, shift
        self.value = self.gradient = math.nan
        self.count = 0  # operations so far
        self.uses = 1
        self._operands: list[int] = []
        self._order: int | None = None  # the order number of the operation's node
        self._tensor = target.source if isinstance(target.source, Tensor) else None
        self._before: Array | None = None
        if target.place is not None and target.index == 0:
            self._move(self._tensor)

    def recorded(self, output: Tensor, parents: Sequence[Tensor]) -> None:
        index, self.count = self.count, self.count + 1
        target = self.target
        if isinstance(target.source, int) and index == target.source:
            self._tensor = output
        if index == target.index:
            self._order = None if output.node is None else output.node.order
            if target.place is None:
                self._move(output)
            elif self._tensor is not None and self._before is not None:
                self._operands = [place for place, parent in enumerate(parents) if parent is self._tensor]
                self.uses = len(self._operands)
                self._tensor.data = self._before
        if target.place is not None and index == target.index - 1:
            self._move(self._tensor)

    def _move(self, x: Tensor | None) -> None:
        if x is not None:
            self._before = x.data
            self.value = float(x.data[self.target.element])
            x.data = np.array(x.data)  # the output may be a view, or be kept by a backward
            x.data[self.target.element] += self.shift

    def before_backward(self, node: Node, dy: Array) -> None:
        if node.order == self._order and self.target.place is None:
            self.gradient = float(dy[self.target.element])

    def after_backward(self, node: Node, gradients: Gradients) -> None:
        if node.order == self._order and self.target.place is not None:
            found = [gradients[place] for place in self._operands]
            self.gradient = sum(float(np.asarray(one)[self.target.element]) for one in found if one is not None)


def measure(recording: Recording, index: int, name: str, element: tuple[int, ...]) -> dict[str, Any]:
    """The answer `measure`: the slope of the loss in one element, measured and computed by backward, both in float64.

    Raises: ConfigError for an array that has no gradient or an element outside of it
    """
    entry = recording.entry(index)
    view, ids = recording.view, recording.prompt.ids
    with view.mistaken():
        model = copy.deepcopy(view.model).to(np.float64)
    target = _find(entry, name, element, dict(model.named_parameters()))
    exact = dataclasses.replace(view, model=model)

    def run(shift: float, backward: bool = False) -> tuple[float, _Probe]:
        with exact.looking():
            probe = _Probe(target, shift)
            with observe(probe):
                loss = model.loss(ids[:-1], ids[1:])
                if backward:
                    loss.backward()
        if probe.count != len(recording.tape):
            raise ConfigError(
                f"measure: in float64 this model runs {probe.count} operations and in its own dtype "
                f"{len(recording.tape)}, so that its elements cannot be matched"
            )
        return loss.item(), probe

    _, probe = run(0.0, backward=True)
    step = STEP * max(1.0, abs(probe.value)) if math.isfinite(probe.value) else STEP
    (plus, _), (minus, _) = run(step), run(-step)
    slope = (plus - minus) / (2 * step)
    note = f"the operation reads this array {probe.uses} times: all are moved together" if probe.uses > 1 else ""
    return {
        **view.describe(),
        "index": index,
        "name": name,
        "element": list(element),
        "value": probe.value,
        "backward": probe.gradient,
        "measured": slope,
        "difference": slope - probe.gradient,
        "eps": step,
        "lossPlus": plus,
        "lossMinus": minus,
        "note": note,
    }


def _find(entry: Entry, name: str, element: tuple[int, ...], parameters: dict[str, Any]) -> _Element:
    """The element of the operand or output `name`. Raises: ConfigError"""
    call = entry.backward
    if call is None:
        raise ConfigError(f"measure: no gradient reaches operation {entry.index}, {entry.name}")
    output = call.incoming.removeprefix("d")
    operands = [(place, operand) for place, operand in enumerate(entry.operands) if operand.name == name]
    if operands:
        place, operand = operands[0]
        if call.gradients[place] is None or (operand.made_by is None and operand.parameter not in parameters):
            raise ConfigError(f"measure: {name} of operation {entry.index}, {entry.name}, has no gradient")
        source = parameters.get(str(operand.parameter), operand.made_by)
        shape, found = operand.shape, _Element(entry.index, element, place, source)
    elif name == output:
        shape, found = entry.shape, _Element(entry.index, element)
    else:
        names = [*(operand.name for operand in entry.operands), output]
        raise ConfigError(f"measure: the arrays of operation {entry.index} are {', '.join(names)}; got {name[:50]!r}")
    if len(element) != len(shape) or any(not 0 <= i < size for i, size in zip(element, shape, strict=True)):
        raise ConfigError(f"measure: {name} has shape {list(shape)}; got the element {list(element)[:10]}")
    return found
