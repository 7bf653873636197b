"""One sum to which several processes add: its order is fixed, whoever comes first."""

from __future__ import annotations

import functools
import random
import threading
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinygrad_llm import Generator, buffers
from tinygrad_llm.nn import Parameter
from tinygrad_llm.train.parallel.shared_gradients import SharedBlock, SharedGradients
from tinygrad_llm.train.parallel.training_memory import TrainingMemory

SHAPES = [(6, 3), (2,), (5, 2)]
SIZE = 3


def processes(wait: Callable[[], None] = lambda: time.sleep(0)) -> list[SharedGradients]:
    parameters = [Parameter(np.ones(shape, np.float32)) for shape in SHAPES]
    memory = TrainingMemory(parameters, (), SIZE, inherited=True)
    return [SharedGradients(memory, rank, wait) for rank in range(SIZE)]


@pytest.fixture(autouse=True)
def endless_patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody keeps a gradient because the machine was busy for a second."""
    monkeypatch.setattr("tinygrad_llm.train.parallel.shared_gradients.SECONDS_FOR_TURN", 600.0)


def in_threads(actions: list[Callable[[], Any]]) -> None:
    threads = [threading.Thread(target=action) for action in actions]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
        assert not thread.is_alive()


# What each rank contributes in one pass, in this order: (parameter, rows or None). Rank 1 has nothing for the last one,
# the ranks visit the parameters in other orders, and the first parameter is used twice, as a tied embedding is.
CONTRIBUTIONS = [
    [(0, None), (1, None), (2, None), (0, [1, 4])],
    [(1, None), (0, None), (0, [0, 1])],
    [(2, None), (1, None), (0, None), (0, [5])],
]


@pytest.mark.parametrize("seed", range(4))
def test_the_sum_has_the_same_bits_in_whatever_order_gradients_come(seed: int) -> None:
    rng = Generator(3)
    gradients = {
        (rank, place): rng.randn(*((len(rows),) if rows else SHAPES[index][:1]), *SHAPES[index][1:])
        for rank, one in enumerate(CONTRIBUTIONS)
        for place, (index, rows) in enumerate(one)
    }
    delays = Generator(seed)

    def expected(index: int) -> np.ndarray:
        total = np.zeros(SHAPES[index], np.float32)
        for _ in range(2):  # passes
            for number in range(2):
                for rank in [(index - i) % SIZE for i in range(SIZE)]:
                    of_parameter = [p for p, (one, _) in enumerate(CONTRIBUTIONS[rank]) if one == index]
                    if number < len(of_parameter):
                        place = of_parameter[number]
                        rows = CONTRIBUTIONS[rank][place][1]
                        total[... if rows is None else rows] += gradients[rank, place]
        return total

    sums = processes()

    def work(rank: int, pauses: list[float]) -> None:
        for place, (index, rows) in enumerate(CONTRIBUTIONS[rank]):
            time.sleep(pauses[place])
            gradient = gradients[rank, place]
            if (free := sums[rank].blocks[index].free()) is not None and rows is None:
                free[...] = gradient
                gradient = free
            sums[rank].blocks[index].add(gradient, None if rows is None else np.array(rows))
        sums[rank].end_pass()

    for _ in range(2):
        pauses = [(delays.rand(4) * 0.003).tolist() for _ in range(SIZE)]
        in_threads([functools.partial(work, rank, pauses[rank]) for rank in range(SIZE)])
    for index in range(len(SHAPES)):
        assert all(one.is_begun(index) for one in sums)
        np.testing.assert_array_equal(sums[0].blocks[index].array, expected(index))


def test_a_gradient_before_its_turn_is_kept_and_a_new_step_begins_a_new_sum() -> None:
    waits: list[int] = []

    def wait() -> None:
        waits.append(1)
        first.blocks[0].add(np.full(SHAPES[0], 1.0, np.float32))
        first.end_pass()
        third.end_pass()

    first, second, third = processes(wait)
    for step in (1, 2):
        assert second.blocks[0].free() is None  # the first process's turn
        second.blocks[0].add(np.full(SHAPES[0], 2.0, np.float32))
        assert not second.is_begun(0)
        second.end_pass()  # in which the others come
        assert waits == [1] * step
        np.testing.assert_array_equal(first.blocks[0].array, np.full(SHAPES[0], 3.0))
        assert [first.is_begun(index) for index in range(3)] == [True, False, False]
        for one in (first, second, third):
            one.wait_for_all()
            one.begin_pass([])


def test_the_parts_of_a_gradient_are_one_contribution_and_wait_for_their_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = np.arange(18, dtype=np.float32).reshape(SHAPES[0])

    def wait() -> None:
        first.blocks[0].add(whole)

    first, third, second = processes(wait)  # in the order of the first block
    third.blocks[0].add(whole)
    for part in (slice(0, 4), slice(4, 8)):
        assert second.blocks[0].added == 0
        second.blocks[0].add(2 * whole[part], part, last=part.stop >= len(whole))
        assert not second.blocks[0].early
    assert second.blocks[0].added == 1
    for one in (first, second, third):
        one.end_pass()
    np.testing.assert_array_equal(first.blocks[0].array, 4 * whole)

    monkeypatch.setattr("tinygrad_llm.train.parallel.shared_gradients.SECONDS_FOR_TURN", 0.0)
    for one in (first, second, third):
        one.wait_for_all()
        one.begin_pass([])
    second.blocks[0].add(whole[:4], slice(0, 4), last=False)  # the first process does not come
    second.blocks[0].add(whole[4:], slice(4, 8))
    assert len(second.blocks[0].early) == 2

    monkeypatch.setattr("tinygrad_llm.train.parallel.shared_gradients.SECONDS_FOR_TURN", 60.0)
    second.blocks[0].add(whole[:4], slice(0, 4), last=False)  # and so nothing after them waits
    second.blocks[0].add(whole[4:], slice(4, 8))
    assert len(second.blocks[0].early) == 4
    first.end_pass()
    third.end_pass()
    second.end_pass()
    np.testing.assert_array_equal(first.blocks[0].array, 2 * whole)


def test_a_gradient_that_was_kept_is_added_while_the_next_one_waits() -> None:
    added: list[int] = []

    def wait() -> None:
        added.append(third.blocks[0].added)
        if len(added) == 1:
            first.blocks[0].add(np.ones(SHAPES[0], np.float32))
            second.blocks[0].add(np.ones(SHAPES[0], np.float32))
        else:
            second.blocks[2].add(np.ones(SHAPES[2], np.float32))

    first, third, second = processes(wait)  # in the order of the first block; that of the third is second, third, first
    third.blocks[0].add(np.ones(SHAPES[0], np.float32))
    third.blocks[2].add(np.ones(1, np.float32), slice(0, 1), last=False)
    assert added == [0, 1]


def test_processes_that_wait_for_each_other_go_on() -> None:
    """The second has no gradient for the first parameter, and the first process none for the second one."""
    first, second, third = processes()
    third.end_pass()

    def work(sums: SharedGradients, index: int) -> None:
        sums.blocks[index].add(np.ones(1, np.float32), slice(0, 1), last=False)
        sums.blocks[index].add(np.ones(1, np.float32), slice(1, 2))
        sums.end_pass()
        sums.wait_for_all()

    in_threads([functools.partial(work, first, 1), functools.partial(work, second, 0)])
    assert [first.is_begun(index) for index in range(3)] == [True, True, False]


@pytest.mark.parametrize("first_ends", ["before", "meanwhile"])
def test_a_large_product_has_the_same_parts_whether_the_sum_is_free_or_not(
    first_ends: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A process that has no gradient for a parameter may end before or after another one adds the first."""
    monkeypatch.setattr("tinygrad_llm.train.parallel.shared_gradients.PART", 6)
    products: list[int] = []
    matmul = buffers.matmul
    monkeypatch.setattr(buffers, "matmul", lambda a, b, out=None: products.append(len(a)) or matmul(a, b, out))
    first, second, third = processes(lambda: first.end_pass())
    if first_ends == "before":
        first.end_pass()
    dy, x = np.ones((4, 6), np.float32), np.ones((4, 3), np.float32)
    third.end_pass()
    second.blocks[0].add_product(dy, x)
    assert products == [2, 2, 2] and second.blocks[0].added == 1
    np.testing.assert_array_equal(third.blocks[0].array, dy.T @ x)


@pytest.fixture
def large(monkeypatch: pytest.MonkeyPatch) -> None:
    """The first parameter is large: it has a block of two rows for each process, each added in parts of one row."""
    monkeypatch.setattr("tinygrad_llm.train.parallel.training_memory.LARGE", 17)
    monkeypatch.setattr("tinygrad_llm.train.parallel.shared_gradients.PART", 3)


@pytest.mark.usefixtures("large")
def test_processes_that_keep_in_step_add_to_a_large_parameter_without_waiting() -> None:
    """Each begins with another block, as in a ring."""

    def wait() -> None:
        raise AssertionError

    sums = processes(wait)
    assert [len(parameter.blocks) for parameter in sums[0].parameters] == [SIZE, 1, 1]
    numbers = np.random.default_rng(0)
    dy, x = (numbers.normal(size=(SIZE, 4, width)).astype(np.float32) for width in SHAPES[0])
    for step in range(SIZE):
        for rank, one in enumerate(sums):
            parameter = one.parameters[0]
            i = parameter.in_turn[step]
            assert (parameter.blocks[i].free() is None) == (step > 0)
            parameter.blocks[i].add_product(dy[rank][:, parameter.rows[i]], x[rank])
            assert not one.early
    expected = sum(dy[rank].T @ x[rank] for rank in range(SIZE))
    np.testing.assert_allclose(sums[0].parameters[0].array, expected, rtol=1e-5)


@pytest.mark.usefixtures("large")
@pytest.mark.parametrize("seed", range(3))
def test_a_large_parameter_is_summed_in_the_order_of_each_block(seed: int) -> None:
    """A product, then rows alone, as a tied table gets them; one process has no gradient, another no rows."""
    numbers, delays = np.random.default_rng(1), Generator(seed)
    products = numbers.normal(size=(SIZE, *SHAPES[0])).astype(np.float32)
    rows = [np.array([0, 3, 5]), np.array([], int), np.array([2])]
    added = [numbers.normal(size=(len(one), 3)).astype(np.float32) for one in rows]
    sums = processes()

    def work(rank: int, pauses: list[float]) -> None:
        parameter = sums[rank].parameters[0]
        time.sleep(pauses[0])
        if rank != 1:
            parameter.add_product(np.eye(6, dtype=np.float32), products[rank])
        time.sleep(pauses[1])
        parameter.add(added[rank], rows[rank])
        sums[rank].end_pass()
        sums[rank].wait_for_all()

    for _ in range(2):  # passes, of which the second adds to the first
        in_threads([functools.partial(work, rank, (delays.rand(2) * 0.003).tolist()) for rank in range(SIZE)])
    total = np.zeros(SHAPES[0], np.float32)
    contributions = [[products[0], 0], [1], [products[2], 0]]
    for _ in range(2):
        for number in range(2):
            for block in range(SIZE):
                own = slice(2 * block, 2 * block + 2)
                for rank in [(block - i) % SIZE for i in range(SIZE)]:
                    if number < len(contributions[rank]):
                        if number == 0 and rank != 1:
                            total[own] += products[rank][own]
                        else:
                            part = np.zeros(SHAPES[0], np.float32)
                            part[rows[rank]] = added[rank]
                            total[own] += part[own]
    assert all(one.is_begun(0) for one in sums)
    np.testing.assert_array_equal(sums[0].parameters[0].array, total)


Contribution = tuple[int, str, Any]  # to a parameter: an array, the factors of a product, or rows and their gradients


@st.composite
def passes(draw: st.DrawFn) -> list[list[list[Contribution]]]:
    """For each of two passes and each of 2 to 5 processes, contributions to any of SHAPES in any order."""
    numbers = np.random.default_rng(draw(st.integers(0, 1000)))

    def contribution(index: int, kind: str, rows: set[int]) -> Contribution:
        shape = SHAPES[index]
        if kind == "product" and len(shape) == 2:
            return index, kind, tuple(numbers.normal(size=(4, width)).astype(np.float32) for width in shape)
        if kind == "rows" and len(shape) == 2:
            chosen = np.array(sorted(row for row in rows if row < shape[0]), int)
            return index, kind, (chosen, numbers.normal(size=(len(chosen), shape[1])).astype(np.float32))
        return index, "whole", numbers.normal(size=shape).astype(np.float32)

    one = st.builds(
        contribution,
        st.integers(0, len(SHAPES) - 1),
        st.sampled_from(["whole", "product", "rows"]),
        st.sets(st.integers(0, 5)),
    )
    size = draw(st.integers(2, 5))
    each_pass = st.lists(st.lists(one, max_size=4), min_size=size, max_size=size)
    return draw(st.lists(each_pass, min_size=2, max_size=2))


def summed(contributions: list[list[list[Contribution]]], pauses: random.Random) -> list[Any]:
    """The sums after each pass by processes that pause at random; None where there is no gradient."""
    memory = TrainingMemory([Parameter(np.ones(s, np.float32)) for s in SHAPES], (), len(contributions[0]), True)
    sums = [SharedGradients(memory, rank, lambda: time.sleep(0)) for rank in range(memory.size)]

    def work(one: SharedGradients, mine: list[Contribution]) -> None:
        for index, kind, what in mine:
            time.sleep(pauses.choice([0, 0, 0, 0.001]))
            parameter = one.parameters[index]
            if kind == "rows":
                parameter.add(what[1], what[0])
                continue
            gradient = parameter.add_product(*what) if kind == "product" else what
            if gradient is not None:
                parameter.add(gradient)
        one.end_pass()
        one.wait_for_all()

    found = []
    for of_pass in contributions:
        for one in sums:
            one.begin_pass([])
        in_threads([functools.partial(work, *pair) for pair in zip(sums, of_pass, strict=True)])
        found += [part.array.copy() if sums[0].is_begun(i) else None for i, part in enumerate(sums[0].parameters)]
    return found


def total(contributions: list[list[Contribution]], index: int) -> Any:
    """The sum in float64; None where there is no gradient."""
    mine = [(kind, what) for one in contributions for i, kind, what in one if i == index]
    result = np.zeros(SHAPES[index])
    for kind, what in mine:
        if kind == "rows":
            result[what[0]] += what[1]
        else:
            result += what if kind == "whole" else what[0].T.astype(float) @ what[1]
    return result if mine else None


@given(passes())
def test_sums_are_right_and_have_the_same_bits_whenever_gradients_come(
    contributions: list[list[list[Contribution]]],
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("tinygrad_llm.train.parallel.training_memory.LARGE", 17)  # the first parameter is large,
        patch.setattr("tinygrad_llm.train.parallel.shared_gradients.PART", 3)  # and so are its blocks
        patch.setattr("tinygrad_llm.train.parallel.shared_gradients.SECONDS_FOR_TURN", 0.01)
        first, second = (summed(contributions, random.Random(seed)) for seed in (1, 2))
    expected = [total(of_pass, index) for of_pass in contributions for index in range(len(SHAPES))]
    for one, other, right in zip(first, second, expected, strict=True):
        assert (one is None) == (other is None) == (right is None)
        if right is not None:
            np.testing.assert_array_equal(one, other)
            np.testing.assert_allclose(one, right, rtol=1e-4, atol=1e-5)


def test_a_sum_that_another_process_begins_meanwhile_is_not_overwritten(monkeypatch: pytest.MonkeyPatch) -> None:
    first, _, second = processes()  # in the order of the first block
    is_begun = SharedBlock.is_begun

    def slow(block: SharedBlock) -> bool:
        answer = is_begun(block)
        if block is second.blocks[0] and not answer:
            first.blocks[0].add(np.ones(SHAPES[0], np.float32))
        return answer

    monkeypatch.setattr(SharedBlock, "is_begun", slow)
    free = second.blocks[0].free()
    assert free is None or not is_begun(second.blocks[0])


def test_the_sums_are_complete_when_every_process_has_added_its_gradients() -> None:
    def wait() -> None:
        third.blocks[0].add(np.ones(SHAPES[0], np.float32))
        third.end_pass()

    first, second, third = processes(wait)
    for one in (first, second):
        one.blocks[0].add(np.ones(SHAPES[0], np.float32))
        one.end_pass()
    first.wait_for_all()
    np.testing.assert_array_equal(first.blocks[0].array, np.full(SHAPES[0], 3.0))


def test_nobody_waits_for_a_process_whose_backward_has_failed() -> None:
    first, second, third = processes()
    second.blocks[0].add(np.ones(SHAPES[0], np.float32))
    first.abandon_pass()
    third.abandon_pass()
    second.end_pass()
    assert second.is_begun(0)


def test_the_death_of_a_process_ends_the_wait() -> None:
    def wait() -> None:
        raise EOFError

    _, second, _ = processes(wait)
    second.blocks[0].add(np.ones(SHAPES[0], np.float32))
    with pytest.raises(EOFError):
        second.end_pass()
