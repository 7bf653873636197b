"""An optimizer whose state and work are divided among processes: the first stage of ZeRO.

Rajbhandari et al. 2020 (arXiv:1910.02054): processes that all hold the same weights need not all hold the optimizer's
state. Each keeps the state of one slice, updates the weights of that slice, and hands these to the others. Here the
weights lie in memory that all processes map, so that the handing over is a barrier.

AdamW changes each number by itself: its slices may cut parameters anywhere, and neighbours that are updated alike are
updated as one long array. Muon needs whole matrices, and gets them.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from tinygrad_llm.optim.optimizer import Optimizer
from tinygrad_llm.tensor import Tensor
from tinygrad_llm.train.parallel.shared_memory import aligned
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
        self.unit = unit_of_update(optimizer)
        self.counts_steps = optimizer.counts_steps
        self._part = copy.copy(optimizer)
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
            tensor.grad = memory.gradients[0].array(piece.start, piece.shape, dtype)
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
            for tensor, piece in self._places.items():
                gradient = self.memory.gradients[0].array(piece.start, piece.shape, tensor.dtype)
                gradient *= factor
        self._part.step()
        return {piece.entry.group: self._share_state(tensor, piece) for tensor, piece in list(self._places.items())}

    def _share_state(self, tensor: Tensor, piece: Piece) -> tuple[str, ...]:
        """Move arrays that the first step of a piece has made into the shared memory."""
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
        places, (first, last) = self.memory.places, self._bounds(entries)
        pieces: list[Piece] = []
        for entry in entries:
            place = places[entry.place]
            if self.unit != "element":
                if first <= place.start < last:
                    pieces.append(Piece(place.start, place.stop, place.shape, entry))
                continue
            start, stop = max(place.start, first), min(aligned(place.stop), last)
            if start >= stop:
                continue
            before = pieces[-1] if pieces else None
            if before and before.stop == start and _alike(before.entry, entry, places):
                start, entry = before.start, before.entry
                pieces.pop()
            pieces.append(Piece(start, stop, ((stop - start) // place.dtype.itemsize,), entry))
        return pieces

    def _bounds(self, entries: Sequence[Entry]) -> tuple[int, int]:
        if self.unit == "all":
            return (0, self.memory.bytes) if self.rank == 0 else (0, 0)
        return self.memory.slice_of(self.rank)


def unit_of_update(optimizer: Optimizer) -> str:
    """The smallest part that the optimizer updates by itself: "element", "parameter", or "all" of them together.

    The class that defines `step` says so. A class that says nothing gets all parameters in one process.
    """
    owner = next(cls for cls in type(optimizer).__mro__ if "step" in vars(cls))
    return str(vars(owner).get("unit_of_update", "all"))


def _alike(one: Entry, other: Entry, places: Sequence[Place]) -> bool:
    """Whether two neighbours can be updated as one array."""
    return one[1:] == other[1:] and places[one.place].dtype == places[other.place].dtype
