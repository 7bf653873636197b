"""The ring of snapshots within its budget."""

import itertools

import numpy as np
import pytest
from tiny_lab import tiny_beginning

from tinygrad_llm.lab.edits import RateEdit
from tinygrad_llm.lab.snapshots import Ring, Snapshot, is_on_the_way
from tinygrad_llm.lab.timeline import Timeline


def snapshot(step: int, applied: tuple = (), size: int = 25) -> Snapshot:
    return Snapshot(step, applied, {"w": np.zeros(size, np.float32)}, {"state": {}}, {}, {})


def test_a_full_ring_drops_the_snapshots_whose_neighbours_are_near() -> None:
    ring = Ring(budget=800)  # eight of 100 bytes
    for step in range(0, 400, 10):
        assert ring.add(snapshot(step))
        assert ring.used == sum(one.bytes for one in ring.snapshots) <= ring.budget
    steps = sorted(one.step for one in ring.snapshots)
    assert len(steps) == 8
    assert (steps[0], steps[-1]) == (0, 390)
    assert max(later - step for step, later in itertools.pairwise(steps)) <= 160
    for step in (0, 7, 123, 389):
        assert ring.nearest((), step) is not None


def test_a_ring_holds_each_moment_once_and_nothing_too_large() -> None:
    ring = Ring(budget=250)
    assert ring.add(snapshot(0)) and ring.add(snapshot(0))
    assert len(ring.snapshots) == 1
    assert not ring.add(snapshot(10, size=1_000))
    assert [one.step for one in ring.snapshots] == [0]


def test_the_way_to_a_step_leads_through_its_own_edits_alone() -> None:
    first, second = RateEdit(5, 0.1), RateEdit(9, 0.2)
    assert is_on_the_way(3, (), (first, second), 20)
    assert not is_on_the_way(7, (), (first, second), 20)  # the first edit is missing
    assert is_on_the_way(7, (first,), (first, second), 20)
    assert not is_on_the_way(7, (second,), (first, second), 20)
    assert not is_on_the_way(7, (first,), (first,), 6)
    assert not is_on_the_way(7, (first,), (), 20)


@pytest.mark.parametrize("kept", [2, 4])
def test_a_rewind_with_few_snapshots_has_the_same_bits(kept: int) -> None:
    timeline = Timeline(tiny_beginning().start)
    timeline.train_to(1)
    size = Snapshot.of(timeline.trainer, ()).bytes  # with moments
    small = Timeline(tiny_beginning().start, ring=Ring(budget=kept * size + 100))
    small.record_steps()
    small.train_to(57)
    timeline.train_to(33)
    small.rewind(small.branch, 33)
    small.train_to(33)
    expected = timeline.trainer.model.state_dict()
    assert all(np.array_equal(x, expected[name]) for name, x in small.trainer.model.state_dict().items())
    assert small.ring.used <= small.ring.budget
