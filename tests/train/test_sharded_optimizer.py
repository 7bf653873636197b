"""Pieces of the parameters: what each process updates, for every kind of optimizer."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest

from tinygrad_llm.nn import Parameter
from tinygrad_llm.optim import SGD, Adam, AdamW, CombinedOptimizer, Muon, Optimizer
from tinygrad_llm.train.parallel.sharded_optimizer import Entry, ShardedOptimizer, unit_of_update
from tinygrad_llm.train.parallel.training_memory import TrainingMemory

SHAPES = [(5, 7), (3,), (40, 3), (2, 2)]


def pieces(optimizer: Optimizer, parameters: Any, entries: list[Entry], size: int) -> list[list[Any]]:
    memory = TrainingMemory(parameters, optimizer.state_arrays, size, inherited=True)
    return [ShardedOptimizer(optimizer, memory, rank)._pieces(entries) for rank in range(size)]


def new_parameters() -> list[Parameter]:
    return [Parameter(np.ones(shape, np.float32)) for shape in SHAPES]


@pytest.mark.parametrize("size", [1, 2, 3, 7])
def test_pieces_of_single_numbers_cover_every_parameter_once(size: int) -> None:
    parameters = new_parameters()
    entries = [Entry(place, 0, (), None) for place in range(len(parameters))]
    found = pieces(AdamW(parameters), parameters, entries, size)
    bounds = [(piece.start, piece.stop) for of_one in found for piece in of_one]
    assert len(bounds) == size  # neighbours that are updated alike are one array
    assert bounds[0][0] == 0 and all(one[1] == other[0] for one, other in itertools.pairwise(bounds))
    assert bounds[-1][1] >= sum(4 * int(np.prod(shape)) for shape in SHAPES)


def test_neighbours_of_another_group_or_age_are_pieces_of_their_own() -> None:
    parameters = new_parameters()
    entries = [Entry(0, 0, (), None), Entry(1, 1, (), None), Entry(2, 1, ("exp_avg",), 3), Entry(3, 1, ("exp_avg",), 4)]
    optimizer = AdamW([{"params": parameters[:1]}, {"params": parameters[1:]}])
    assert [len(of_one) for of_one in pieces(optimizer, parameters, entries, 1)] == [4]
    del entries[1]  # it has no gradient: what lies beside it is not joined across it
    assert [len(of_one) for of_one in pieces(optimizer, parameters, entries, 1)] == [3]


@pytest.mark.parametrize("size", [1, 2, 3])
def test_whole_matrices_stay_whole(size: int) -> None:
    parameters = [parameter for parameter in new_parameters() if parameter.ndim == 2]
    entries = [Entry(place, 0, (), None) for place in range(len(parameters))]
    found = sorted(piece for of_one in pieces(Muon(parameters), parameters, entries, size) for piece in of_one)
    assert [(piece.entry.place, piece.shape) for piece in found] == [(i, p.shape) for i, p in enumerate(parameters)]


def test_each_rule_of_a_combined_optimizer_is_divided_in_its_own_way() -> None:
    matrices = [Parameter(np.ones((8, 8), np.float32)) for _ in range(6)]
    table, bias = Parameter(np.ones((100, 8), np.float32)), Parameter(np.ones(7, np.float32))
    optimizer = CombinedOptimizer(Muon(matrices), AdamW([table]), AdamW([bias]))
    entries = [Entry(i, 0, (), None) for i in range(6)] + [Entry(6, 1, (), None), Entry(7, 2, (), None)]
    for of_one in pieces(optimizer, [*matrices, table, bias], entries, 2):
        assert sum(piece.entry.group == 0 and piece.shape == (8, 8) for piece in of_one) == 3
        cut = [piece.stop - piece.start for piece in of_one if piece.entry.group]
        assert abs(sum(cut) - 4 * (800 + 7) / 2) <= 64


@pytest.mark.parametrize("optimizer_class", [AdamW, Muon, SGD])
def test_the_state_of_the_first_step_is_made_in_the_shared_memory(
    optimizer_class: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: Any) -> None:
        raise AssertionError("state in memory of one process")

    parameters = [Parameter(np.ones((4, 8), np.float32)) for _ in range(2)]
    options = {"momentum": 0.9} if optimizer_class is SGD else {}
    optimizer = optimizer_class(parameters, lr=0.1, **options)
    memory = TrainingMemory(parameters, optimizer.state_arrays, 1, inherited=True)
    shard = ShardedOptimizer(optimizer, memory, 0)
    monkeypatch.setattr(Optimizer, "new_state", refuse)
    shard.take_over([Entry(place, 0, (), None) for place in range(2)], 1)
    settings = {key: value for key, value in optimizer.param_groups[0].items() if key not in ("params", "param_names")}
    assert shard.step([settings], 1.0) == {0: tuple(optimizer.state_arrays)}


def test_the_class_that_defines_a_step_says_what_may_be_divided() -> None:
    class Renamed(AdamW):
        pass

    class Changed(AdamW):
        def step(self) -> None:
            super().step()

    kinds = {AdamW: "element", Adam: "element", SGD: "element", Muon: "parameter", Renamed: "element", Changed: "all"}
    weight = [Parameter(np.ones((2, 2), np.float32))]
    assert {kind: unit_of_update(kind(weight)) for kind in kinds} == kinds
