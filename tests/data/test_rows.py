"""Taking some rows of any kind of batch."""

from typing import Any

import numpy as np
import pytest

from tinygrad_llm.data import PreferenceBatch, collate, count_rows, take_rows
from tinygrad_llm.errors import ShapeError


def test_rows_of_every_kind_of_batch() -> None:
    ids = np.arange(12).reshape(4, 3)
    rows = slice(1, 3)
    for batch in ((ids, ids + 1), [ids, ids + 1], {"a": ids, "b": (ids, ids)}, ids):
        assert count_rows(batch) == 4
        assert count_rows(take_rows(batch, rows)) == 2
    np.testing.assert_array_equal(take_rows((ids, ids + 1), rows)[1], [[4, 5, 6], [7, 8, 9]])
    np.testing.assert_array_equal(take_rows({"b": (ids, ids)}, rows)["b"][0], ids[1:3])


def test_a_named_tuple_stays_a_named_tuple() -> None:
    ids = np.arange(6).reshape(3, 2)
    pairs = PreferenceBatch(ids, ids + 1, ids > 0, ids > 1)
    part = take_rows(pairs, slice(1, 3))
    assert isinstance(part, PreferenceBatch) and part.num_targets == 2
    np.testing.assert_array_equal(part.rejected, [[3, 4], [5, 6]])


def test_a_list_of_strings_is_one_column() -> None:
    texts = collate([(np.zeros(2), "a"), (np.ones(2), "b"), (np.ones(2), "c")])
    assert count_rows(texts) == 3
    assert take_rows(texts, slice(1, 3))[1] == ["b", "c"]


@pytest.mark.parametrize("batch", [(np.zeros(3), np.zeros(4)), (), np.float32(1), (np.zeros(3), None), 7])
def test_a_batch_without_rows_is_refused(batch: int | np.float32 | tuple[Any, ...]) -> None:
    with pytest.raises(ShapeError, match="a batch must be"):
        count_rows(batch)
