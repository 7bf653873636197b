"""The observer behind the tape: it writes an entry for each operation of a forward, and completes it in backward."""

from __future__ import annotations

import sys
import time
import weakref
from collections.abc import Callable, Sequence
from types import CodeType
from typing import Any

import numpy as np

from tinygrad_llm.arrays import Array
from tinygrad_llm.buffers import memory_owner
from tinygrad_llm.graph import Gradients, Node
from tinygrad_llm.study.call_stack import ModulePaths, caller_of, operand_names, source_line
from tinygrad_llm.study.formulas import formula_of, operation_behind
from tinygrad_llm.study.held_arrays import arrays_held
from tinygrad_llm.study.operation_source import OperationCode, Place
from tinygrad_llm.study.tape_entry import BackwardCall, Entry, Operand, Summary, summarize
from tinygrad_llm.tensor import Tensor


class ArrayStore:
    """Copies of arrays, of at most `budget` bytes together. An array that several entries share is copied once."""

    def __init__(self, budget: int) -> None:
        self.budget = budget
        self.bytes = 0
        self.refused = 0  # arrays that did not fit
        self._copies: dict[int, tuple[weakref.ref[Array], Array]] = {}  # by the id of the original

    def keep(self, arrays: Sequence[tuple[str, Array]]) -> dict[str, Array]:
        """Copies of `arrays` by name, without those that do not fit the budget."""
        if not self.budget:
            return {}
        kept = {name: self._copy(x) for name, x in arrays}
        return {name: copy for name, copy in kept.items() if copy is not None}

    def _copy(self, x: Array) -> Array | None:
        original, copy = self._copies.get(id(x), (None, None))
        if original is not None and original() is x and copy is not None and copy.tobytes() == x.tobytes():
            return copy
        if self.bytes + x.nbytes > self.budget:
            self.refused += 1
            return None
        copy = np.array(x)
        copy.flags.writeable = False
        self.bytes += copy.nbytes
        self._copies[id(x)] = weakref.ref(x), copy
        return copy


class Recorder:
    """Observes the operations of one thread. It keeps statistics of arrays, and weak references to them.

    `entries` are the operations in forward order, `backward_order` those whose backward ran, in the order of the walk.
    `last_output` refers to the output of the last operation that has a backward.
    """

    def __init__(self, paths: ModulePaths, array_budget: int) -> None:
        self.entries: list[Entry] = []
        self.backward_order: list[Entry] = []
        self.last_output: weakref.ref[Tensor] | None = None
        self.last_differentiable: Entry | None = None
        self.paths = paths
        self.store = ArrayStore(array_budget)
        self._own_seconds = 0.0
        self._last_event = 0.0
        self._by_order: dict[int, Entry] = {}  # by the order number of the node
        self._started: dict[int, tuple[float, weakref.ref[Array]]] = {}  # backward calls: start and incoming gradient
        self._arrays: dict[int, list[tuple[str, weakref.ref[Array]]]] = {}  # operands and output, by order number
        self._made_by: dict[int, tuple[weakref.ref[Tensor], int]] = {}  # the entry that made a Tensor, by its id
        self._counted: dict[int, weakref.ref[Array]] = {}  # arrays kept for a backward, counted already

    def begin(self) -> None:
        """Start the clock of the next operation."""
        self._last_event = self._now()

    def recorded(self, output: Tensor, parents: Sequence[Tensor]) -> None:
        now = self._now()
        frame = sys._getframe(2)  # recorded <- record_operation <- the operation
        modules = self.paths.at_work(frame)
        node = output.node
        backward = None if node is None else node.backward
        names = operand_names(frame, parents)
        arrays = [*zip(names, (x.data for x in parents), strict=True), (_output_name(backward), output.data)]
        caller = caller_of(frame)
        entry = Entry(
            index=len(self.entries),
            name=frame.f_code.co_name.strip("_") if node is None else node.name,
            module=modules[-1] if modules else None,
            modules=modules,
            source=source_line(caller),
            code=OperationCode(
                Place(frame.f_code, frame.f_lineno),
                None if backward is None else Place(backward.__code__, None),
                None if caller is None else Place(caller.f_code, caller.f_lineno),
            ),
            operands=tuple(self._operand(name, x) for name, x in zip(names, parents, strict=True)),
            output=summarize(output.data),
            differentiable=node is not None,
            seconds=now - self._last_event,
            bytes_made=0 if _is_view(output, parents) else output.data.nbytes,
            bytes_kept=0 if backward is None else self._newly_kept(backward, parents),
            formula="" if backward is None else formula_of(operation_behind(backward), backward.__code__),
            arrays=self.store.keep(arrays),
        )
        self.entries.append(entry)
        self._made_by[id(output)] = weakref.ref(output), entry.index
        if node is not None and backward is not None:
            self._by_order[node.order] = self.last_differentiable = entry
            self.last_output = weakref.ref(output)
            self._arrays[node.order] = [(name, weakref.ref(array)) for name, array in arrays]
        self._last_event = self._resume(now)

    def before_backward(self, node: Node, dy: Array) -> None:
        if node.order in self._by_order:
            self._started[node.order] = self._now(), weakref.ref(dy)

    def after_backward(self, node: Node, gradients: Gradients) -> None:
        now = self._now()
        if node.order not in self._started or node.backward is None:
            return  # recorded before the tape began
        started, incoming = self._started.pop(node.order)
        dy = incoming()
        if dy is None:
            return
        name = _gradient_name(node.backward.__code__)
        arrays = [(name, dy), *((name, x) for name, ref in self._arrays[node.order] if (x := ref()) is not None)]
        outgoing = [None if g is None else np.asarray(g) for g in gradients]
        summaries = tuple(None if g is None else summarize(g) for g in outgoing)
        entry = self._by_order[node.order]
        entry.backward = BackwardCall(
            now - started, name, summarize(dy), summaries, tuple(_values_at_largest(g, arrays) for g in summaries)
        )
        named = [(f"d{x.name}", g) for x, g in zip(entry.operands, outgoing, strict=True) if g is not None]
        entry.arrays |= self.store.keep([(name, dy), *named])
        self.backward_order.append(entry)
        self._last_event = self._resume(now)

    def _now(self) -> float:
        """Seconds on a clock that excludes the recorder's own work."""
        return time.perf_counter() - self._own_seconds

    def _resume(self, stopped: float) -> float:
        """Exclude the time since `stopped` from the clock."""
        self._own_seconds += self._now() - stopped
        return stopped

    def _operand(self, name: str, x: Tensor) -> Operand:
        made, index = self._made_by.get(id(x), (None, None))
        if made is None or made() is not x:  # the id of a dead Tensor may be another's
            index = None
        return Operand(name, x.shape, x.dtype, index, self.paths.of_parameter(x))

    def _newly_kept(self, backward: Callable[..., Any], parents: Sequence[Tensor]) -> int:
        """Bytes that `backward` keeps and no earlier one does, without parameters."""
        for x in parents:
            if x.collects_gradient:
                self._counted[id(memory_owner(x.data))] = weakref.ref(memory_owner(x.data))
        size = 0
        for array in arrays_held(backward):
            owner = memory_owner(array)
            known = self._counted.get(id(owner))
            if known is None or known() is not owner:
                self._counted[id(owner)] = weakref.ref(owner)
                size += owner.nbytes
        return size


def _values_at_largest(gradient: Summary | None, arrays: list[tuple[str, Array]]) -> dict[str, float]:
    if gradient is None or gradient.largest_at is None:
        return {}
    same_shape = [(name, x) for name, x in arrays if x.shape == gradient.shape and x.dtype.kind in "biuf"]
    return {name: float(x[gradient.largest_at]) for name, x in same_shape}


def _is_view(output: Tensor, parents: Sequence[Tensor]) -> bool:
    owner = memory_owner(output.data)
    return any(owner is memory_owner(x.data) for x in parents)


def _gradient_name(backward: CodeType) -> str:
    """The name that a backward has for the incoming gradient, such as `dy` or `dz`."""
    return backward.co_varnames[0] if backward.co_argcount else "dy"


def _output_name(backward: Any) -> str:
    return "output" if backward is None else _gradient_name(backward.__code__).removeprefix("d")
