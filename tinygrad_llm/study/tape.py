"""The tape: every operation of a forward and backward, with where it stood, what it made and which gradients passed.

    with record() as tape:
        loss = model.loss(ids, targets)
        loss.backward()
    print(tape)                 # a line for each operation
    print(tape[12])             # one of them, with its formula
    tape.step()                 # plays the backward, one operation at each call
    tape.to_svg("tape.svg")     # the graph, drawn

Without `loss.backward()`, `tape.step()` performs the backward itself, one operation at each call. The tape keeps
numbers about arrays and no array, so what dies in a backward dies with the tape looking on.
"""

from __future__ import annotations

import math
import os
import sys
import time
import weakref
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import CodeType, FrameType
from typing import Any, NamedTuple, overload

import numpy as np

from tinygrad_llm.anomaly import ENGINE, PACKAGE
from tinygrad_llm.errors import ConfigError, GraphError, IdRangeError
from tinygrad_llm.formats.atomic import atomic_write
from tinygrad_llm.nn import Module
from tinygrad_llm.study.activations import module_paths
from tinygrad_llm.study.counting import arrays_held, owner_of
from tinygrad_llm.study.formulas import formula_of, operation_behind
from tinygrad_llm.study.tape_drawing import as_dot, as_svg
from tinygrad_llm.study.tape_words import as_table, bytes_in_words, described, time_in_words
from tinygrad_llm.tensor import Array, Gradients, Node, Tensor, observe

LAYERS = str(Path(PACKAGE, "nn"))


class Numbers(NamedTuple):
    """How the elements of an array are distributed; NaN and infinity are counted in `not_finite` and nowhere else.

    `zeros` and `not_finite` are shares of all elements, `norm` is √Σ x². The element of the largest magnitude is
    `largest`, at `largest_at`; where no element is finite these are NaN and None. Of complex numbers, all of their
    magnitudes.
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


class Operand(NamedTuple):
    """What an operation read: `name` is the operation's own word for it.

    It was made by the entry `made_by`, or is the model's parameter of that path, or neither: an input, a constant.
    """

    name: str
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    made_by: int | None
    parameter: str | None


class Passage(NamedTuple):
    """One backward of an operation: the gradient that came in and, for each operand, the one that went out, or None.

    `beside` holds for each outgoing gradient what stood, at the place of its largest element, in the arrays of the same
    shape that the graph still had: the incoming gradient, operands, the output. Units: seconds.
    """

    seconds: float
    incoming: str  # the formula's word for the incoming gradient, such as dy
    dy: Numbers
    gradients: tuple[Numbers | None, ...]
    beside: tuple[dict[str, float], ...]


@dataclass
class Entry:
    """One operation.

    `module` is the path of the innermost module that it ran in, "" for the outermost itself, None outside of all;
    `modules` are all that it ran in, outermost first. `source` is the line of code that tells a reader most: of what
    called the operation or, where that is a layer of `nn` that does nothing else, of what called the layer.

    `seconds` are those since the operation before it, the tape's own work left out: its own, and those of the module's
    code in between. `bytes_made` are those of an output that is no view. `bytes_kept` are those that its backward keeps
    and no earlier one does, parameters not counted.

    `backward` is the last time that its backward ran, None where it did not.
    """

    index: int
    name: str
    module: str | None
    modules: tuple[str, ...]
    source: str
    operands: tuple[Operand, ...]
    output: Numbers
    differentiable: bool
    seconds: float
    bytes_made: int
    bytes_kept: int
    formula: str
    backward: Passage | None = None

    @property
    def shape(self) -> tuple[int, ...]:
        return self.output.shape

    @property
    def dtype(self) -> np.dtype[Any]:
        return self.output.dtype

    def __str__(self) -> str:
        return described(self)


class Tape:
    """The operations in the order in which they ran: `len(tape)`, `tape[i]`, `for entry in tape`, `print(tape)`."""

    def __init__(self, model: Module | None = None) -> None:
        self._entries: list[Entry] = []
        self._passed: list[Entry] = []  # as the backward met them
        self._played = 0  # of these, by `step`
        self._walk: Iterator[None] | None = None
        self._watching = False
        self._own_seconds = 0.0
        self._last_event = 0.0
        self._by_order: dict[int, int] = {}  # the node's order, to the entry
        self._under_way: dict[int, tuple[float, weakref.ref[Array]]] = {}
        self._arrays: dict[int, list[tuple[str, weakref.ref[Array]]]] = {}
        self._made: dict[int, tuple[weakref.ref[Tensor], int]] = {}  # which entry made a Tensor, by its id
        self._kept: dict[int, weakref.ref[Array]] = {}  # by whom it is kept was said before
        self._last: weakref.ref[Tensor] | None = None
        self._given = model is not None
        self._roots = [] if model is None else [model]
        self._paths: dict[int, list[str]] = {}
        self._parameters: dict[int, tuple[weakref.ref[Tensor], str]] = {}  # path of a Tensor, by its id
        self._know_roots()

    # -- reading it

    def __len__(self) -> int:
        return len(self._entries)

    def __iter__(self) -> Iterator[Entry]:
        return iter(self._entries)

    @overload
    def __getitem__(self, index: int) -> Entry: ...
    @overload
    def __getitem__(self, index: slice) -> list[Entry]: ...
    def __getitem__(self, index: int | slice) -> Entry | list[Entry]:
        try:
            return self._entries[index]
        except IndexError:
            raise IdRangeError(f"tape: entries are 0 to {len(self) - 1}; got {index}") from None

    def __str__(self) -> str:
        return as_table(self._entries, self.root(), self.title)

    @property
    def title(self) -> str:
        """How many operations there are, their times and bytes, together."""
        forward = sum(entry.seconds for entry in self)
        backward = sum(entry.backward.seconds for entry in self if entry.backward is not None)
        made, kept = sum(entry.bytes_made for entry in self), sum(entry.bytes_kept for entry in self)
        times = f"forward {time_in_words(forward)}, backward {time_in_words(backward)}"
        room = f"{bytes_in_words(made)} made, {bytes_in_words(kept)} kept"
        return f"{len(self)} operations, {len(self._passed)} gone back through; {times}; {room}"

    def root(self) -> str:
        """The class of the outermost module, which its own operations are shown under."""
        return type(self._roots[0]).__name__ if self._roots else ""

    # -- playing it

    def step(self) -> Entry:
        """Play the next operation of the backward, and print which formula was applied to what. Returns its entry.

        What a backward inside the recording has done is replayed from what was written down. Otherwise this performs
        it, from the last operation recorded, and when all is played the parameters have the gradients that
        `loss.backward()` gives. Until then the rest of the graph is kept.

        Raises: GraphError where there is nothing to play, or nothing more
        """
        live = self._played == len(self._passed)
        if live:
            self._go_back()
        entry = self._passed[self._played]
        self._played += 1
        print(f"backward, step {self._played}{'' if live else ', replayed'}: {entry}\n")
        return entry

    def _go_back(self) -> None:
        if self._walk is None:
            self._walk = self._start().backward_steps()
        before = len(self._passed)
        with self.watching():
            while len(self._passed) == before:  # what no gradient reached is passed by in silence
                try:
                    next(self._walk)
                except StopIteration:
                    raise self._all_played() from None

    def _start(self) -> Tensor:
        if self._last is None:
            raise GraphError(
                "step: there is nothing to play; no operation on what requires a gradient was recorded; "
                "run the model's forward inside `with record() as tape:`"
            )
        last = max(self._by_order.values())
        if self._entries[last].backward is not None:
            raise self._all_played()
        loss = self._last()
        if loss is None or loss.node is None or loss.node.backward is None:
            raise GraphError(
                f"step: the graph behind the last operation, #{last} {self._entries[last].name}, must be there; it "
                f"{'is gone: keep the loss in a variable' if loss is None else 'went back outside of the recording'}"
            )
        if loss.size != 1:
            raise GraphError(
                f"step: the last operation recorded must be the loss, one element; #{last} {self._entries[last].name} "
                f"made {loss.shape}; record up to the loss, or call backward(gradient) inside and replay it"
            )
        return loss

    def _all_played(self) -> GraphError:
        return GraphError(f"step: all {len(self._passed)} operations of the backward are played; record another")

    # -- drawing it

    def to_dot(self) -> str:
        """The graph in Graphviz's language, a cluster for each module inside that of the one that called it.

        Raises: GraphError where nothing was recorded
        """
        self._expect_operations("to_dot")
        return as_dot(self._entries, self.root())

    def to_svg(self, path: str | os.PathLike[str] | None = None) -> str:
        """The graph as a picture, which is also written to `path`: forward runs from top to bottom.

        Raises: GraphError where nothing was recorded; CheckpointError for a file that cannot be written
        """
        self._expect_operations("to_svg")
        picture = as_svg(self._entries, self.root(), self.title)
        if path is not None:
            with atomic_write(Path(path)) as file:
                file.write(picture.encode("utf-8"))
        return picture

    def _expect_operations(self, caller: str) -> None:
        if not self._entries:
            raise GraphError(f"{caller}: nothing was recorded; run a forward inside `with record() as tape:`")

    # -- writing it: what the engine shows an observer

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Let the engine show this tape what runs on this thread; once, however often this is entered."""
        if self._watching:
            yield
            return
        self._watching, self._last_event = True, self._now()
        try:
            with observe(weakref.proxy(self)):  # a walk that is left off, which this holds, remembers who looked on
                yield
        finally:
            self._watching = False

    def recorded(self, output: Tensor, parents: Sequence[Tensor]) -> None:
        now = self._now()
        frame = sys._getframe(2)  # recorded <- record <- the operation
        modules = self._modules_at_work(frame)
        node, index = output.node, len(self)
        backward = None if node is None else node.backward
        names = _names_of_operands(frame, parents)
        operands = tuple(self._operand(name, x) for name, x in zip(names, parents, strict=True))
        self._entries.append(
            Entry(
                index=index,
                name=frame.f_code.co_name.strip("_") if node is None else node.name,
                module=modules[-1] if modules else None,
                modules=modules,
                source=_source(frame),
                operands=operands,
                output=numbers_of(output.data),
                differentiable=node is not None,
                seconds=now - self._last_event,
                bytes_made=0 if _is_view(output, parents) else output.data.nbytes,
                bytes_kept=0 if backward is None else self._newly_kept(backward, parents),
                formula="" if backward is None else formula_of(operation_behind(backward), backward.__code__),
            )
        )
        self._made[id(output)] = weakref.ref(output), index
        if node is not None and backward is not None:
            self._by_order[node.order] = index
            self._last = weakref.ref(output)
            word = _word_for_gradient(backward.__code__)
            arrays = [*zip(names, (x.data for x in parents), strict=True), (word.removeprefix("d"), output.data)]
            self._arrays[node.order] = [(name, weakref.ref(array)) for name, array in arrays]
        self._last_event = self._resume(now)

    def before_backward(self, node: Node, dy: Array) -> None:
        if node.order in self._by_order:
            self._under_way[node.order] = self._now(), weakref.ref(dy)

    def after_backward(self, node: Node, gradients: Gradients) -> None:
        now = self._now()
        if node.order not in self._under_way or node.backward is None:
            return  # recorded before the tape was there
        began, incoming = self._under_way.pop(node.order)
        dy = incoming()
        if dy is None:
            return
        word = _word_for_gradient(node.backward.__code__)
        arrays = [(word, dy)]
        arrays += [(name, x) for name, ref in self._arrays[node.order] if (x := ref()) is not None]
        numbers = tuple(None if g is None else numbers_of(np.asarray(g)) for g in gradients)
        entry = self._entries[self._by_order[node.order]]
        entry.backward = Passage(now - began, word, numbers_of(dy), numbers, tuple(_beside(g, arrays) for g in numbers))
        self._passed.append(entry)
        self._last_event = self._resume(now)

    def _now(self) -> float:
        """A clock that stands still while the tape itself is at work."""
        return time.perf_counter() - self._own_seconds

    def _resume(self, stopped: float) -> float:
        """Let the clock go on from where it `stopped`."""
        self._own_seconds += self._now() - stopped
        return stopped

    # -- where things are

    def _know_roots(self) -> None:
        """Give each module and parameter below the roots its path; from the second root on these begin with a class."""
        self._paths, self._parameters = {}, {}
        for number, root in enumerate(self._roots, 1):
            for path, module in module_paths(root, "" if number == 1 else f"{type(root).__name__}@{number}"):
                self._paths.setdefault(id(module), []).append(path)
                for name, value in vars(module).items():
                    if isinstance(value, Tensor):
                        known = weakref.ref(value), f"{path}.{name}" if path else name
                        self._parameters.setdefault(id(value), known)

    def _modules_at_work(self, frame: FrameType | None) -> tuple[str, ...]:
        """The paths of the modules whose methods are on the stack, outermost first."""
        found: list[Module] = []
        while frame is not None:
            module = _module_of(frame)
            if module is not None and not (found and found[-1] is module):
                found.append(module)
            frame = frame.f_back
        paths: list[str] = []
        for module in reversed(found):
            if id(module) not in self._paths:
                self._know_roots()  # it may have been put into its model since
            if id(module) not in self._paths:
                if self._given:
                    continue  # stands outside of the model that was asked for
                self._roots.append(module)
                self._know_roots()
            possible, inside = self._paths[id(module)], f"{paths[-1]}." if paths and paths[-1] else ""
            path = next((path for path in possible if path.startswith(inside)), possible[0])
            if path not in paths:
                paths.append(path)
        return tuple(paths)

    def _operand(self, name: str, x: Tensor) -> Operand:
        made, index = self._made.get(id(x), (None, None))
        named, path = self._parameters.get(id(x), (None, None))
        if made is None or made() is not x:  # the id of a Tensor that is gone may be another's
            index = None
        if named is None or named() is not x:
            path = None
        return Operand(name, x.shape, x.dtype, index, path)

    def _newly_kept(self, backward: Callable[..., Any], parents: Sequence[Tensor]) -> int:
        ours = {id(owner_of(x.data)) for x in parents if x._is_parameter}
        size = 0
        for array in arrays_held(backward):
            owner = owner_of(array)
            known = self._kept.get(id(owner))
            if id(owner) not in ours and (known is None or known() is not owner):
                self._kept[id(owner)] = weakref.ref(owner)
                size += owner.nbytes
        return size


@contextmanager
def record(model: Module | None = None) -> Iterator[Tape]:
    """Write down every operation of this thread, forward and backward, on the tape that this yields.

    Values and gradients stay the same to the bit. Paths of modules begin at `model`; unless it is given, at the
    outermost module whose method is running (a second such model's begin with its class: `GPT@2`).

    Raises: ConfigError for a model that is no Module
    """
    if not (model is None or isinstance(model, Module)):
        raise ConfigError(f"record: the model must be a Module, or be left out; got a {type(model).__name__}")
    tape = Tape(model)
    with tape.watching():
        yield tape


# -- looking at an array


def numbers_of(x: Array) -> Numbers:
    """How the elements of x are distributed; see `Numbers`."""
    values = np.asarray(np.abs(x) if x.dtype.kind == "c" else x, dtype=np.float64).ravel()
    good = np.isfinite(values)
    finite = values if good.all() else values[good]
    share = 1 / max(values.size, 1)
    zeros, not_finite = np.count_nonzero(values == 0) * share, (values.size - finite.size) * share
    if not finite.size:
        none = math.nan
        return Numbers(x.shape, x.dtype, none, none, none, none, none, zeros, not_finite, none, None)
    at = int(np.argmax(np.where(good, np.abs(values), -1)))
    place = tuple(int(i) for i in np.unravel_index(at, x.shape))
    with np.errstate(over="ignore", invalid="ignore"):
        norm = math.sqrt(float(finite @ finite))
        spread = float(finite.mean()), float(finite.std()), float(finite.min()), float(finite.max())
    return Numbers(x.shape, x.dtype, *spread, norm, zeros, not_finite, float(values[at]), place)


def _beside(gradient: Numbers | None, arrays: list[tuple[str, Array]]) -> dict[str, float]:
    if gradient is None or gradient.largest_at is None:
        return {}
    alike = [(name, x) for name, x in arrays if x.shape == gradient.shape and x.dtype.kind in "biuf"]
    return {name: float(x[gradient.largest_at]) for name, x in alike}


def _is_view(output: Tensor, parents: Sequence[Tensor]) -> bool:
    owner = owner_of(output.data)
    return any(owner is owner_of(x.data) for x in parents)


# -- looking at the stack


def _module_of(frame: FrameType) -> Module | None:
    """The module whose method this frame runs; its making is none of them, for then it has no parts yet.

    Only such frames are asked for their variables, for Python keeps those of a frame that was asked as long as it runs:
    a training loop's would hold on to its loss.
    """
    code = frame.f_code
    if code.co_name == "__init__":
        return None
    if code is not Module.__call__.__code__:
        owner = frame.f_globals.get(code.co_qualname.partition(".")[0])
        if code.co_varnames[:1] != ("self",) or not (isinstance(owner, type) and issubclass(owner, Module)):
            return None
    module = frame.f_locals.get("self")
    return module if isinstance(module, Module) else None


def _source(frame: FrameType | None) -> str:
    """The line of code outside the engine that led to an operation; see `Entry`."""
    while frame is not None and frame.f_code.co_filename.startswith(ENGINE):
        frame = frame.f_back
    while frame is not None and frame.f_back is not None and (module := _module_of(frame)) is not None:
        is_layer = vars(sys.modules[type(module).__module__]).get("__file__", "").startswith(LAYERS)
        if not is_layer or any(True for _ in module.children()):
            break
        frame = frame.f_back
    if frame is None:
        return "?"
    path = Path(frame.f_code.co_filename)
    shown = path.relative_to(Path(PACKAGE).parent) if path.is_relative_to(PACKAGE) else path.name
    return f"{shown}:{frame.f_lineno}"


def _names_of_operands(frame: FrameType, parents: Sequence[Tensor]) -> list[str]:
    """What the operation itself calls the Tensors that it read: its variables, arguments first."""
    variables = [(name, value) for name, value in frame.f_locals.items() if isinstance(value, Tensor)]
    names = []
    for i, parent in enumerate(parents):
        found = next((one for one in variables if one[1] is parent), None)
        if found is not None:
            variables.remove(found)
        names.append(f"x{i}" if found is None else found[0])
    return names


def _word_for_gradient(backward: CodeType) -> str:
    return backward.co_varnames[0] if backward.co_argcount else "dy"
