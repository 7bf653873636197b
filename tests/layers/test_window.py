"""The mask of a window."""

from typing import Any

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from tinygrad_llm import Tensor
from tinygrad_llm.nn import within_window


@given(window=st.integers(1, 7), keys=st.integers(1, 7), data=st.data())
def test_a_window_covers_a_token_and_those_just_before_it(window: int, keys: Any, data: Any) -> None:
    queries = data.draw(st.integers(1, keys))
    seen = within_window(window, queries, keys)
    seen = np.ones((queries, keys), bool) if seen is None else seen
    for i in range(queries):
        at = keys - queries + i
        for j in range(at + 1):
            assert seen[i, j] == (at - j < window)
    padded = np.arange(keys) > 0
    joined = within_window(window, queries, keys, padded)
    np.testing.assert_array_equal(np.broadcast_to(joined, (queries, keys)), seen & padded)
    added = within_window(window, queries, keys, np.full(keys, 0.5))
    added = added.data if isinstance(added, Tensor) else added
    np.testing.assert_array_equal(np.broadcast_to(added, (queries, keys)), np.where(seen, 0.5, -np.inf))


def test_layers_that_keep_the_mask_of_a_window_share_it() -> None:
    first, second = (within_window(2, 3, 4) for _ in range(2))
    assert first is second and not first.flags.writeable
    assert within_window(2, 3, 5) is not first
