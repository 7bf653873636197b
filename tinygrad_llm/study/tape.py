"""The tape: every operation of a forward and backward, with its place in the model, its output and its gradients.

    with record() as tape:
        loss = model.loss(ids, targets)
        loss.backward()
    print(tape)                 # a line for each operation
    print(tape[12])             # one of them, with its formula
    tape.step()                 # replays the backward, one operation per call
    tape.to_svg("tape.svg")     # the graph as a picture

Without `loss.backward()`, `tape.step()` performs the backward itself, one operation per call. The tape keeps
statistics of arrays rather than the arrays, so activations are freed in backward as usual; `record(keep_arrays=True)`
keeps copies of them too.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import overload

from tinygrad_llm.errors import ConfigError, GraphError, IdRangeError
from tinygrad_llm.formats.atomic import atomic_write
from tinygrad_llm.graph import observe
from tinygrad_llm.nn import Module
from tinygrad_llm.study.call_stack import ModulePaths
from tinygrad_llm.study.formatting import format_bytes, format_time, terminal_width
from tinygrad_llm.study.tape_drawing import as_dot, as_svg
from tinygrad_llm.study.tape_entry import Entry
from tinygrad_llm.study.tape_recorder import Recorder
from tinygrad_llm.study.tape_table import as_table
from tinygrad_llm.tensor import Tensor

ARRAY_BUDGET = 100_000_000  # bytes of arrays that `keep_arrays` keeps


class Tape:
    """The operations in the order in which they ran: `len(tape)`, `tape[i]`, `for entry in tape`, `print(tape)`."""

    def __init__(self, model: Module | None = None, array_budget: int = 0) -> None:
        self._paths = ModulePaths(model)
        self._recorder = Recorder(self._paths, array_budget)
        self._played = 0  # entries of the backward that `step` has returned
        self._walk: Iterator[None] | None = None
        self._observing = False

    # -- reading

    def __len__(self) -> int:
        return len(self._recorder.entries)

    def __iter__(self) -> Iterator[Entry]:
        return iter(self._recorder.entries)

    @overload
    def __getitem__(self, index: int) -> Entry: ...
    @overload
    def __getitem__(self, index: slice) -> list[Entry]: ...
    def __getitem__(self, index: int | slice) -> Entry | list[Entry]:
        try:
            return self._recorder.entries[index]
        except IndexError:
            raise IdRangeError(f"tape: entries are 0 to {len(self) - 1}; got {index}") from None

    def __str__(self) -> str:
        return self.table()

    def table(self, width: int | None = None) -> str:
        """A line for each operation, in as many columns as fit `width`: unless given, the width of the terminal."""
        return as_table(self._recorder.entries, self.root(), self.title, terminal_width() if width is None else width)

    @property
    def title(self) -> str:
        """The number of operations, and the sums of their times and bytes."""
        forward = sum(entry.seconds for entry in self)
        backward = sum(entry.backward.seconds for entry in self if entry.backward is not None)
        made, kept = sum(entry.bytes_made for entry in self), sum(entry.bytes_kept for entry in self)
        times = f"forward {format_time(forward)}, backward {format_time(backward)}"
        sizes = f"{format_bytes(made)} made, {format_bytes(kept)} kept for backward"
        counts = f"{len(self)} operations, {len(self._recorder.backward_order)} backward calls"
        return "; ".join([counts, times, sizes, *self._about_arrays()])

    def _about_arrays(self) -> list[str]:
        store = self._recorder.store
        if not store.budget:
            return []
        refused = f", {store.refused} arrays beyond the budget not kept" if store.refused else ""
        return [f"arrays of {format_bytes(store.bytes)} copied{refused}"]

    @property
    def bytes_kept(self) -> int:
        """The bytes of arrays that `keep_arrays` has copied."""
        return self._recorder.store.bytes

    @property
    def arrays_refused(self) -> int:
        """How many arrays did not fit the budget of `keep_arrays`."""
        return self._recorder.store.refused

    @property
    def backward_order(self) -> list[Entry]:
        """The operations whose backward ran, in the order in which it visited them."""
        return list(self._recorder.backward_order)

    def root(self) -> str:
        """The class of the outermost module: the heading of the model's own operations."""
        return self._paths.root_name

    # -- playing the backward

    def step(self) -> Entry:
        """Run or replay the next operation of the backward, and print its formula and gradients. Returns its entry.

        A backward that ran while recording is replayed from its records. Otherwise this method performs it, starting
        from the last operation recorded; after the last step the parameters have the gradients of `loss.backward()`.
        Until then the rest of the graph is kept.

        Raises: GraphError if no backward can be played, or all of it was played
        """
        live = self._played == len(self._recorder.backward_order)
        if live:
            self._advance()
        entry = self._recorder.backward_order[self._played]
        self._played += 1
        prefix = f"backward, step {self._played}{'' if live else ', replayed'}: "
        print(f"{entry.describe(terminal_width(), prefix)}\n")
        return entry

    def _advance(self) -> None:
        """Perform backward steps until one is observed: operations that no gradient reaches have none."""
        if self._walk is None:
            self._walk = self._loss_to_start_from().backward_steps()
        before = len(self._recorder.backward_order)
        with self.observing():
            while len(self._recorder.backward_order) == before:
                try:
                    next(self._walk)
                except StopIteration:
                    raise self._all_replayed() from None

    def _loss_to_start_from(self) -> Tensor:
        last, output = self._recorder.last_differentiable, self._recorder.last_output
        if last is None or output is None:
            raise GraphError(
                "step: there is nothing to play; no operation that requires a gradient was recorded; "
                "run the model's forward inside `with record() as tape:`"
            )
        if last.backward is not None:
            raise self._all_replayed()
        loss = output()
        if loss is None or loss.node is None or loss.node.backward is None:
            raise GraphError(
                f"step: the graph behind the last operation, #{last.index} {last.name}, must exist; it "
                f"{'was freed: keep the loss in a variable' if loss is None else 'was walked outside of the recording'}"
            )
        if loss.size != 1:
            raise GraphError(
                f"step: the last operation recorded must be the loss, one element; #{last.index} {last.name} "
                f"made {loss.shape}; record up to the loss, or call backward(gradient) inside and replay it"
            )
        return loss

    def _all_replayed(self) -> GraphError:
        count = len(self._recorder.backward_order)
        return GraphError(f"step: all {count} operations of the backward are played; record another")

    # -- drawing

    def to_dot(self) -> str:
        """The graph in Graphviz's language, with a cluster for each module inside that of the module that called it.

        Raises: GraphError if nothing was recorded
        """
        self._expect_operations("to_dot")
        return as_dot(self._recorder.entries, self.root())

    def to_svg(self, path: str | os.PathLike[str] | None = None) -> str:
        """The graph as an SVG picture, also written to `path`; forward runs from top to bottom.

        Raises: GraphError if nothing was recorded; CheckpointError for a file that cannot be written
        """
        self._expect_operations("to_svg")
        picture = as_svg(self._recorder.entries, self.root(), self.title)
        if path is not None:
            with atomic_write(Path(path)) as file:
                file.write(picture.encode("utf-8"))
        return picture

    def _expect_operations(self, caller: str) -> None:
        if not len(self):
            raise GraphError(f"{caller}: nothing was recorded; run a forward inside `with record() as tape:`")

    # -- recording

    @contextmanager
    def observing(self) -> Iterator[None]:
        """Record the operations of this thread inside the block; a block inside another changes nothing."""
        if self._observing:
            yield
            return
        self._observing = True
        self._recorder.begin()
        try:
            with observe(self._recorder):
                yield
        finally:
            self._observing = False


@contextmanager
def record(model: Module | None = None, keep_arrays: bool = False, array_budget: int = ARRAY_BUDGET) -> Iterator[Tape]:
    """Record every operation of this thread, forward and backward, on the tape that this yields.

    Recording changes no bit of values and gradients. Paths of modules begin at `model`; unless it is given, at the
    outermost module whose method is running (those of a second such model begin with its class: `GPT@2`).

    With `keep_arrays`, each entry's `arrays` maps names of the formula, such as x, y, dy and dx, to copies of its
    operands, output and gradients, until all copies together would exceed `array_budget` bytes.

    Raises: ConfigError for a model that is no Module, or a budget below 1 byte
    """
    if not (model is None or isinstance(model, Module)):
        raise ConfigError(f"record: the model must be a Module, or be left out; got a {type(model).__name__}")
    if keep_arrays and array_budget < 1:
        raise ConfigError(f"record: array_budget must be at least 1 byte; got {array_budget}")
    tape = Tape(model, array_budget if keep_arrays else 0)
    with tape.observing():
        yield tape
