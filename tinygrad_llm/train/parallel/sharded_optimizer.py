"""An optimizer whose state and work are divided among processes: the first stage of ZeRO.

Rajbhandari et al. 2020 (arXiv:1910.02054): processes that all hold the same weights need not all hold the optimizer's
state. Each keeps the state of one slice, updates the weights of that slice, and hands these to the others. Here the
weights lie in memory that all processes map, so that the handing over is a barrier.

AdamW changes each number by itself: its slices may cut parameters anywhere, and neighbours that are updated alike are
updated as one long array. Muon needs whole matrices, and gets them: the largest first, each to the process that has
fewest numbers so far.
"""

from __future__ import annotations

import copy
import functools
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from tinygrad_llm.arrays import Array
from tinygrad_llm.optim.combined import rules_of
from tinygrad_llm.optim.optimizer import Optimizer
from tinygrad_llm.tensor import Tensor
from tinygrad_llm.train.parallel.shared_memory import ALIGNMENT, aligned
from tinygrad_llm.train.parallel.training_memory import Place, TrainingMemory


class Entry(NamedTuple):
    """A parameter that has a gradient: its place in the memory, its group, and its state before the first step here.

    `state` names the arrays that earlier steps left, `step` counts these steps; both are empty before the first.
    """

    place: int
    group: int
    state: tuple[str, ...]
    step: int | None


class Piece(NamedTuple):
    """A part of the weights that one process updates. Units: bytes"""

    start: int
    stop: int
    shape: tuple[int, ...]
    entry: Entry


class ShardedOptimizer:
    """One process's part of `optimizer`: an optimizer of the same class over pieces of the parameters."""

    def __init__(self, optimizer: Optimizer, memory: TrainingMemory, rank: int) -> None:
        self.memory, self.rank = memory, rank
        self.units = [unit_of_update(rule) for rule in rules_of(optimizer)]
        self._part = copy.copy(optimizer)
        for rule in rules_of(self._part):  # before the part has no groups, and so no rules
            rule.new_state = functools.partial(self._new_state, rule)  # type: ignore[method-assign]
        self._part.state, self._part._scratch, self._part.param_groups = {}, {}, []

    def take_over(self, entries: Sequence[Entry], groups: int) -> None:
        """Choose this process's pieces anew: before the first step, and when other parameters have gradients."""
        memory, pieces = self.memory, self._pieces(entries)
        self._places: dict[Tensor, Piece] = {}
        self._part.state = {}
        members: list[list[Tensor]] = [[] for _ in range(groups)]
        for piece in pieces:
            dtype = memory.places[piece.entry.place].dtype
            tensor = Tensor(memory.weights.array(piece.start, piece.shape, dtype), requires_grad=True)
            tensor.grad = memory.gradients.array(piece.start, piece.shape, dtype)
            members[piece.entry.group].append(tensor)
            self._places[tensor] = piece
            if piece.entry.state or piece.entry.step is not None:
                state: dict[str, Any] = {} if piece.entry.step is None else {"step": piece.entry.step}
                arrays = {name: memory.state[name].array(piece.start, piece.shape, dtype) for name in piece.entry.state}
                self._part.state[tensor] = state | arrays
        self._part.param_groups = [{"params": tensors} for tensors in members]

    def step(self, settings: Sequence[Mapping[str, Any]], factor: float) -> dict[int, tuple[str, ...]]:
        """Scale the gradients of the pieces by `factor` and update them, with the hyper-parameters of each group.

        Returns the names of the state's arrays, by group.
        """
        for group, hyperparameters in zip(self._part.param_groups, settings, strict=True):
            group.update(hyperparameters)
        if factor != 1.0:
            for tensor in self._places:
                tensor.grad *= factor  # type: ignore[operator, assignment]
        self._part.step()
        return {piece.entry.group: self._share_state(tensor, piece) for tensor, piece in list(self._places.items())}

    def _new_state(self, rule: Optimizer, tensor: Tensor) -> dict[str, Array]:
        """The state of a piece before its first update: zeros in the shared memory."""
        piece, state = self._places[tensor], {}
        for name in rule.state_arrays:
            state[name] = self.memory.state[name].array(piece.start, piece.shape, tensor.dtype)
            state[name].fill(0)
        return state

    def _share_state(self, tensor: Tensor, piece: Piece) -> tuple[str, ...]:
        """Move arrays that an optimizer of one's own has made into the shared memory."""
        state = self._part.state.get(tensor, {})
        names = tuple(name for name in self.memory.state if name in state)
        for name in names:
            if name not in piece.entry.state:
                shared = self.memory.state[name].array(piece.start, piece.shape, tensor.dtype)
                shared[...] = state[name]
                state[name] = shared
        if names != piece.entry.state:
            self._places[tensor] = piece._replace(entry=piece.entry._replace(state=names))
        return names

    def _pieces(self, entries: Sequence[Entry]) -> list[Piece]:
        """This process's pieces of the parameters in `entries`, which follow each other in the memory."""
        places = self.memory.places
        cut = [entry for entry in entries if self.units[entry.group] == "element"]
        first, last = self._bounds([places[entry.place] for entry in cut])
        pieces: list[Piece] = []
        for entry in cut:
            place = places[entry.place]
            start, stop = max(place.start, first), min(aligned(place.stop), last)
            if start >= stop:
                continue
            before = pieces[-1] if pieces else None
            if before and before.stop == start and _alike(before.entry, entry, places):
                start, entry = before.start, before.entry
                pieces.pop()
            pieces.append(Piece(start, stop, ((stop - start) // place.dtype.itemsize,), entry))
        return pieces + self._whole_parameters([e for e in entries if self.units[e.group] != "element"])

    def _whole_parameters(self, entries: Sequence[Entry]) -> list[Piece]:
        """Those of `entries` that this process updates; the first process gets all of a rule that needs all at once.

        Sharing out the largest first keeps the shares even (Graham 1969, longest processing time first).
        """
        places = self.memory.places
        whole = [Piece(places[e.place].start, places[e.place].stop, places[e.place].shape, e) for e in entries]
        given, mine = [0] * self.memory.size, []
        for piece in sorted(whole, key=lambda piece: (piece.start - piece.stop, piece.start)):
            rank = given.index(min(given)) if self.units[piece.entry.group] == "parameter" else 0
            given[rank] += piece.stop - piece.start
            if rank == self.rank:
                mine.append(piece)
        return mine

    def _bounds(self, places: Sequence[Place]) -> tuple[int, int]:
        """The range of bytes that this process updates of neighbouring parameters that may be cut anywhere."""
        if not places:
            return 0, 0
        start, size = places[0].start, self.memory.size
        lines = (aligned(places[-1].stop) - start) // ALIGNMENT
        first, last = (start + lines * rank // size * ALIGNMENT for rank in (self.rank, self.rank + 1))
        return first, last


def unit_of_update(optimizer: Optimizer) -> str:
    """The smallest part that the optimizer updates by itself: "element", "parameter", or "all" of them together.

    The class that defines `step` says so. A class that says nothing gets all parameters in one process.
    """
    owner = next(cls for cls in type(optimizer).__mro__ if "step" in vars(cls))
    return str(vars(owner).get("unit_of_update", "all"))


def _alike(one: Entry, other: Entry, places: Sequence[Place]) -> bool:
    """Whether two neighbours can be updated as one array."""
    return one[1:] == other[1:] and places[one.place].dtype == places[other.place].dtype
