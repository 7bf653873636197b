"""Random orders without a list: each number once, and no visible pattern."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinygrad_llm.data import RandomOrder, WindowLoader, window_loader
from tinygrad_llm.random import Generator


@given(st.integers(1, 5000), st.integers(0, 2**32 - 1))
def test_every_number_comes_once(n: int, seed: int) -> None:
    order = RandomOrder(n, Generator(seed))
    assert len(order) == n
    np.testing.assert_array_equal(np.sort(order[0:n]), np.arange(n))


def test_any_slice_is_that_part_of_the_whole() -> None:
    order = RandomOrder(1000, Generator(3))
    whole = order[0:1000]
    for start in range(0, 1000, 7):
        np.testing.assert_array_equal(order[start : start + 7], whole[start : start + 7])
    assert order[2000:2004].size == 0


def test_a_huge_order_needs_no_list() -> None:
    order = RandomOrder(300_000_000, Generator(0))
    some = order[0:20_000]
    assert some.min() >= 0 and some.max() < 300_000_000
    assert np.unique(some).size == some.size


@pytest.mark.parametrize("n", [2**18 + 1, 2**19, 3_000_000])
def test_an_order_passes_tests_of_randomness(n: int) -> None:
    """Against what a random permutation would give, within about five standard deviations."""
    order = RandomOrder(n, Generator(7))[0:200_000]
    counts = np.bincount(order * 100 // n, minlength=100)
    chi_squared = ((counts - 2000) ** 2 / 2000).sum() / (1 - 200_000 / n)  # drawn without putting back
    assert abs(chi_squared - 99) < 5 * np.sqrt(2 * 99)
    assert abs(np.corrcoef(order[:-1], order[1:])[0, 1]) < 5 / np.sqrt(order.size)
    assert abs(np.corrcoef(order, np.arange(order.size))[0, 1]) < 5 / np.sqrt(order.size)
    odd = int((order & 1).sum())
    assert abs(odd - 100_000) < 5 * np.sqrt(50_000)
    steps = np.abs(np.diff(order))
    assert abs(steps.mean() / n - 1 / 3) < 5 * 0.236 / np.sqrt(order.size)
    other = RandomOrder(n, Generator(8))[0:200_000]
    assert (order == other).sum() < 10


def test_a_window_loader_shuffles_few_windows_as_pytorch_does() -> None:
    loader = WindowLoader(np.arange(1001), context_length=1, batch_size=1000, generator=Generator(5))
    expected = Generator(5)
    expected.randint(0, 1)  # the offset
    np.testing.assert_array_equal(next(iter(loader))[0][:, 0], expected.randperm(1000))


def test_a_window_loader_computes_the_order_of_many_windows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(window_loader, "LONGEST_LIST", 999)
    loader = WindowLoader(np.arange(1001), context_length=1, batch_size=1000, generator=Generator(5))
    expected = Generator(5)
    expected.randint(0, 1)
    np.testing.assert_array_equal(next(iter(loader))[0][:, 0], RandomOrder(1000, expected)[0:1000])
