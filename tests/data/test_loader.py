"""DataLoader: PyTorch's order, resuming, and samples that do not stack."""

import json
from collections.abc import Iterator
from itertools import islice
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinygrad_llm.data import DataLoader, SlidingWindows, collate
from tinygrad_llm.errors import ConfigError, DTypeError, ShapeError
from tinygrad_llm.random import Generator, manual_seed

# What PyTorch 2.13 gave for ten items, batches of four, two epochs, and rand(1) after them, seed 123.
FROM_THE_DEFAULT = [[[8, 2, 6, 7], [0, 3, 9, 1], [5, 4]], [[5, 9, 2, 7], [8, 6, 4, 0], [1, 3]]]
AFTER_THE_DEFAULT = 0.18405646085739136
FROM_ITS_OWN = [[[2, 1, 6, 0], [4, 7, 9, 8], [3, 5]], [[5, 1, 0, 6], [7, 3, 2, 4], [8, 9]]]
AFTER_ITS_OWN = 0.4066462516784668
AFTER_IN_ORDER = 0.2516707181930542


def epochs(loader: DataLoader, count: int = 2) -> list[list[list[int]]]:
    return [[batch.tolist() for batch in loader] for _ in range(count)]


def test_shuffles_are_pytorchs() -> None:
    stream = manual_seed(123)
    assert epochs(DataLoader(range(10), 4, shuffle=True)) == FROM_THE_DEFAULT
    assert stream.rand(1)[0] == np.float32(AFTER_THE_DEFAULT)
    own = Generator(123)
    assert epochs(DataLoader(range(10), 4, shuffle=True, generator=own)) == FROM_ITS_OWN
    assert own.rand(1)[0] == np.float32(AFTER_ITS_OWN)


def test_reading_in_order_still_draws_once() -> None:
    stream = manual_seed(123)
    assert epochs(DataLoader(range(10), 4), 1) == [[[0, 1, 2, 3], [4, 5, 6, 7], [8, 9]]]
    assert stream.rand(1)[0] == np.float32(AFTER_IN_ORDER)


@given(st.integers(0, 30), st.integers(1, 12), st.booleans(), st.booleans())
def test_an_epoch_holds_each_item_once(items: int, batch_size: int, shuffle: bool, drop_last: bool) -> None:
    loader = DataLoader(range(items), batch_size, shuffle, drop_last, generator=Generator(1))
    for _ in range(2):
        batches = [batch.tolist() for batch in loader]
        assert len(batches) == len(loader)
        kept = [item for batch in batches for item in batch]
        expected = items // batch_size * batch_size if drop_last else items
        assert len(set(kept)) == len(kept) == expected
        assert all(len(batch) == batch_size for batch in batches[: items // batch_size])


@given(st.integers(0, 23), st.integers(1, 7), st.booleans(), st.booleans(), st.booleans(), st.integers(0, 12))
def test_resuming_gives_the_same_batches(
    items: int, batch_size: int, shuffle: bool, drop_last: bool, own: bool, stop: int
) -> None:
    """Stop after `stop` steps, start anew from the saved state: batches and other draws are the undisturbed ones."""
    reads: list[int] = []

    class Watched:
        def __len__(self) -> int:
            return items

        def __getitem__(self, index: int) -> int:
            reads.append(index)
            return index

    def make() -> tuple[DataLoader, Generator]:
        stream = manual_seed(5)
        generator = Generator(9) if own else None
        return DataLoader(Watched(), batch_size, shuffle, drop_last, generator=generator), stream

    def steps(loader: DataLoader, stream: Generator) -> Iterator[tuple[Any, ...]]:
        for _ in range(3):
            for batch in loader:
                yield batch.tolist(), stream.rand(1).tolist()

    expected = list(steps(*make()))
    loader, stream = make()
    running = steps(loader, stream)
    done = list(islice(running, stop))
    kept = json.dumps([loader.state(), stream.state()], default=np.ndarray.tolist)
    running.close()

    loader, stream = make()
    stream.rand(7)
    state, stream_state = json.loads(kept)
    loader.set_state(state)
    stream.set_state(stream_state)
    assert json.dumps(loader.state(), default=np.ndarray.tolist) == json.dumps(state)
    reads.clear()
    rest = list(islice(steps(loader, stream), len(expected) - len(done)))
    assert done + rest == expected
    assert sorted(reads) == sorted(item for batch, _ in rest for item in batch)


def test_a_state_of_other_data_is_refused() -> None:
    state = DataLoader(range(10), 2).state()
    for loader in (DataLoader(range(9), 2), DataLoader(range(10), 3), DataLoader(range(10), 2, shuffle=True)):
        with pytest.raises(ConfigError, match="must be what it was"):
            loader.set_state(state)
    loader = DataLoader(range(10), 2)
    broken = [{}, None, {**state, "batches": 6}, {**state, "batches": "1"}, {**state, "epoch_start": [1]}]
    for bad in [*broken, {**state, "generator": {}}]:
        with pytest.raises(ConfigError, match="state"):
            loader.set_state(bad)


def test_windows_stack_into_batches() -> None:
    loader = DataLoader(SlidingWindows(range(20), 4), batch_size=2)
    inputs, targets = next(iter(loader))
    assert inputs.tolist() == [[0, 1, 2, 3], [4, 5, 6, 7]]
    assert targets.tolist() == [[1, 2, 3, 4], [5, 6, 7, 8]]
    assert inputs.dtype == np.int64


def test_collate_stacks_field_by_field() -> None:
    batch = collate([{"x": (1, 2.5), "t": "a", "y": [np.float64(1), True]}] * 3)
    assert isinstance(batch["x"], tuple)
    assert isinstance(batch["y"], list)
    assert batch["t"] == ["a"] * 3
    dtypes = [batch["x"][0].dtype, batch["x"][1].dtype, batch["y"][0].dtype, batch["y"][1].dtype]
    assert dtypes == [np.int64, np.float32, np.float64, np.bool_]
    assert collate([np.ones((2, 3), np.float32)] * 4).shape == (4, 2, 3)


@pytest.mark.parametrize(
    ("samples", "error", "says"),
    [
        ([np.zeros(2), np.zeros(3)], ShapeError, r"\(2,\) and \(3,\): give the DataLoader a collate_fn"),
        ([(1, 2), (1, 2, 3)], ShapeError, "as many fields as the first, 2.* collate_fn"),
        ([(1, 2), 3], ShapeError, "fields"),
        ([{"a": 1}, {"b": 1}], ShapeError, "same keys"),
        ([None, None], DTypeError, "NoneType"),
        ([1, "a"], DTypeError, "str"),
        ([1, 2**70], DTypeError, "int"),
        ([1, [[1], [2, 3]]], ShapeError, "collate_fn"),
    ],
)
def test_samples_that_do_not_stack_are_named(samples: list, error: type[Exception], says: str) -> None:
    with pytest.raises(error, match=says):
        collate(samples)


def test_a_collate_function_is_used() -> None:
    loader = DataLoader([[1], [2, 3]], batch_size=2, collate_fn=lambda items: [len(item) for item in items])
    assert list(loader) == [[1, 2]]


def test_bad_settings_are_refused() -> None:
    for batch_size in (0, -1, 2.0, True, None):
        with pytest.raises(ConfigError, match="batch_size"):
            DataLoader(range(3), batch_size)
    with pytest.raises(ConfigError, match="__len__"):
        DataLoader(iter([1]))
    with pytest.raises(ConfigError, match="Generator"):
        DataLoader(range(3), generator=123)
