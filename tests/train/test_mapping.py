"""A long evaluation shared among workers has the results of a loop, in its order."""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from tinygrad_llm.errors import ConfigError, DataError, WorkerError
from tinygrad_llm.nn import Linear
from tinygrad_llm.train import evaluate
from tinygrad_llm.train.parallel.launch import available_cores
from tinygrad_llm.train.parallel.mapping import evaluate_in_workers, map_in_workers

SMALL, LARGE = Linear(2, 2), Linear(400, 400)


@pytest.mark.parametrize("items", [0, 1, 2, 5, 9])
@pytest.mark.parametrize("workers", [1, 2, 4])
def test_results_come_in_the_order_of_the_items(items: int, workers: int) -> None:
    offset = np.arange(3)  # nothing that the function refers to is pickled
    found = list(map_in_workers(lambda item: (item, item * offset), list(range(items)), LARGE, workers))
    assert [item for item, _ in found] == list(range(items))
    for item, array in found:
        np.testing.assert_array_equal(array, item * offset)
    assert multiprocessing.active_children() == []


def test_every_process_goes_through_the_items_itself() -> None:
    """They may come from a file, which nobody has counted."""
    opened: list[int] = []

    def items() -> Iterator[int]:
        opened.append(os.getpid())
        yield from range(7)

    found = list(map_in_workers(lambda item: (item, *opened), items(), workers=2))
    assert [item for item, *_ in found] == list(range(7))
    assert len({process for _, process in found}) == 2


def test_only_the_first_process_prints(capfd: pytest.CaptureFixture[str]) -> None:
    def items() -> Iterator[int]:
        for item in range(4):
            os.write(1, b"one more\n")
            yield item

    assert len(list(map_in_workers(lambda item: item, items(), workers=3))) == 4
    assert capfd.readouterr().out.count("one more") == 4


def test_an_evaluation_in_workers_is_that_of_one_process() -> None:
    class Squares(Linear):
        def loss(self, x: np.ndarray, y: np.ndarray) -> Any:
            return (self(x) ** 2).mean()

    model = Squares(400, 400)
    batches = [(np.full((2, 400), n, np.float32), np.full((2, 4), min(n, 0))) for n in range(-2, 5)]
    assert evaluate_in_workers(model, batches) == evaluate(model, batches)
    with pytest.raises(ConfigError, match="at least one target"):
        evaluate_in_workers(model, [])


def test_each_core_has_a_worker_unless_the_model_is_small() -> None:
    assert set(map_in_workers(lambda _: os.getpid(), range(9), SMALL)) == {os.getpid()}
    assert len(set(map_in_workers(lambda _: os.getpid(), range(9), LARGE))) == min(9, len(available_cores()))


@pytest.mark.parametrize(("error", "expected"), [(DataError, DataError), (KeyError, WorkerError)])
def test_an_error_of_a_worker_ends_the_evaluation(error: Any, expected: Any) -> None:
    def fails(item: int) -> int:
        if item == 3:
            raise error("no such record")
        return item

    with pytest.raises(expected, match="no such record"):
        list(map_in_workers(fails, range(6), LARGE, 2))
    assert multiprocessing.active_children() == []


def test_an_evaluation_that_is_given_up_leaves_no_worker() -> None:
    results = map_in_workers(lambda item: item, range(6), LARGE, 2)
    assert next(results) == 0
    results.close()
    assert multiprocessing.active_children() == []
