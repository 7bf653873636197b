"""The space of a search: what is drawn lies in it, is new each time, and is the same for the same seed."""

import math
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tinygrad_llm.errors import ConfigError
from tinygrad_llm.random import Generator
from tinygrad_llm.runs.search_space import Choices, Range, all_trials, in_words, random_trials


@settings(max_examples=20)
@given(low=st.floats(1e-6, 1e3), factor=st.floats(1.001, 1e6), log=st.booleans(), seed=st.integers(0, 2**32 - 1))
def test_a_number_lies_in_its_range_and_has_three_digits(low: float, factor: float, log: bool, seed: int) -> None:
    dimension = Range("x", low, low * factor, log)
    drawn = dimension.draw(Generator(seed))
    assert low <= drawn <= low * factor
    assert drawn in (low, low * factor) or drawn == float(f"{drawn:.3g}")


@settings(max_examples=8)
@given(low=st.integers(-5, 5), width=st.integers(1, 4), log=st.booleans())
def test_whole_numbers_of_a_range_all_come(low: int, width: int, log: bool) -> None:
    low = max(low, 1) if log else low
    generator, dimension = Generator(1), Range("x", low, low + width, log, whole=True)
    drawn = {dimension.draw(generator) for _ in range(120)}
    assert drawn == set(range(low, low + width + 1)) and all(type(value) is int for value in drawn)


def test_a_log_range_is_uniform_in_the_logarithm() -> None:
    generator, dimension = Generator(3), Range("x", 1e-4, 1e-2, log=True)
    drawn = [dimension.draw(generator) for _ in range(2000)]
    assert sum(value < 1e-3 for value in drawn) / 2000 == pytest.approx(0.5, abs=0.03)


def test_random_trials_differ_and_repeat_with_the_seed() -> None:
    space = [Range("rate", 1e-4, 1e-2, log=True), Choices("layers", (1, 2)), Choices("tied", (True, False))]
    first, again, other = (random_trials(space, 6, seed) for seed in (0, 0, 1))
    assert first == again != other
    assert len({in_words(trial) for trial in first}) == 6
    few = random_trials(space[1:], 4, 0)
    assert sorted(map(in_words, few)) == sorted(map(in_words, all_trials(space[1:])))
    with pytest.raises(ConfigError, match="at least --trials 5 different trials; it gives 4"):
        random_trials(space[1:], 5, 0)


def test_a_grid_has_every_combination_once() -> None:
    grid = all_trials([Choices("a", (1, 2)), Choices("b", ("x", "y", "z"))])
    assert len(grid) == 6 and grid[0] == {"a": 1, "b": "x"} and grid[-1] == {"a": 2, "b": "z"}
    with pytest.raises(ConfigError, match="a grid needs lists of values; rate is a range"):
        all_trials([Range("rate", 0, 1)])


@pytest.mark.parametrize(
    ("ends", "message"),
    [
        ((1, 1), "must rise from one finite number to another; got 1..1"),
        ((2, 1), "must rise"),
        ((0, math.inf), "must rise"),
        ((math.nan, 1), "must rise"),
        ((0, 1, True), "a log range must begin above 0; got 0..1"),
    ],
)
def test_what_is_no_range(ends: Any, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        Range("x", *ends)
