"""WindowLoader: what an epoch covers, and resuming anywhere."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinygrad_llm.data import WindowBatches, WindowLoader
from tinygrad_llm.errors import ConfigError, DataError
from tinygrad_llm.random import Generator


@given(st.integers(6, 90), st.integers(1, 5), st.integers(1, 4), st.integers(0, 5))
def test_an_epoch_reads_no_token_twice_and_shifts_targets_by_one(count: int, width: int, batch: int, seed: int) -> None:
    ids = np.arange(count, dtype=np.uint16)
    batches = list(WindowLoader(ids, width, batch, Generator(seed)))
    inputs = np.concatenate([inputs.ravel() for inputs, _ in batches])
    targets = np.concatenate([targets.ravel() for _, targets in batches])
    assert len(set(inputs.tolist())) == inputs.size
    np.testing.assert_array_equal(targets, inputs + 1)
    assert inputs.dtype == targets.dtype == np.int64
    full = (count - width) // width  # windows that fit whatever the offset
    assert inputs.size >= (full // batch * batch or min(full, 1)) * width


def test_epochs_differ_in_order_and_in_where_they_cut() -> None:
    loader = WindowLoader(np.arange(1000), 10, 4, Generator(3))
    starts = [sorted(int(row[0]) for inputs, _ in loader for row in inputs) for _ in range(5)]
    assert len({epoch[0] % 10 for epoch in starts}) > 1
    first, second = ([inputs[:, 0].tolist() for inputs, _ in loader] for _ in range(2))
    assert first != second


@pytest.mark.parametrize("stop", range(12))
def test_a_loader_resumes_anywhere(stop: int) -> None:
    def take(loader: WindowLoader, count: int) -> list[list[int]]:
        taken: list[list[int]] = []
        while len(taken) < count:
            for inputs, _ in loader:
                taken.append(inputs[:, 0].tolist())
                if len(taken) == count:
                    break
        return taken

    ids = np.arange(50)  # four batches in an epoch
    whole = take(WindowLoader(ids, 4, 3, Generator(1)), 12)
    first = WindowLoader(ids, 4, 3, Generator(1))
    before = take(first, stop)
    state = json.loads(json.dumps(first.state(), default=lambda array: array.tolist()))
    second = WindowLoader(ids, 4, 3, Generator(99))
    second.set_state(state)
    assert before + take(second, 12 - stop) == whole


def test_a_text_of_one_window_is_one_batch() -> None:
    assert [inputs.tolist() for inputs, _ in WindowLoader(np.arange(5), 4, 8, Generator(0))] == [[[0, 1, 2, 3]]]


def test_misfitting_arguments_are_refused() -> None:
    with pytest.raises(DataError, match="at least 5 tokens"):
        WindowLoader(np.arange(4), 4, 1)
    with pytest.raises(ConfigError, match="batch_size must be an integer of at least 1; got 0"):
        WindowLoader(np.arange(40), 4, 0)
    state = WindowLoader(np.arange(40), 4, 2, Generator(0)).state()
    with pytest.raises(ConfigError, match="tokens must be what it was, 40; got 41"):
        WindowLoader(np.arange(41), 4, 2, Generator(0)).set_state(state)
    with pytest.raises(ConfigError, match="batch_size must be what it was, 2; got 3"):
        WindowLoader(np.arange(40), 4, 3, Generator(0)).set_state(state)
    with pytest.raises(ConfigError, match="needs what state"):
        WindowLoader(np.arange(40), 4, 3, Generator(0)).set_state({})


def test_window_batches_are_the_text_in_order() -> None:
    batches = WindowBatches(np.arange(30), 4, 3)
    assert len(batches) == 3
    rows = np.concatenate([inputs for inputs, _ in batches])
    np.testing.assert_array_equal(rows, np.arange(28).reshape(7, 4))
    assert batches[2][0].shape == (1, 4)
    np.testing.assert_array_equal(batches[1][1], batches[1][0] + 1)


def test_a_long_text_is_shuffled_without_a_list_and_resumes_in_mid_epoch() -> None:
    ids = np.arange(600_000, dtype=np.uint32)  # 300,000 windows: more than are listed
    loader = WindowLoader(ids, 2, 30_000, Generator(1))
    batches = [inputs for inputs, _ in loader]
    assert len(batches) == 9
    seen = np.concatenate(batches).ravel()
    assert np.unique(seen).size == seen.size == 540_000
    assert not np.array_equal(seen, np.sort(seen))
    again = iter(first := WindowLoader(ids, 2, 30_000, Generator(1)))
    for _ in range(4):
        next(again)
    second = WindowLoader(ids, 2, 30_000, Generator(5))
    second.set_state(json.loads(json.dumps(first.state(), default=lambda array: array.tolist())))
    np.testing.assert_array_equal(next(iter(second))[0], batches[4])
    assert not np.array_equal(next(iter(loader))[0], batches[0])  # the next epoch has an order of its own
