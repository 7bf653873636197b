"""Numbers in words: the rules of both languages, and distinct words for distinct numbers."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from tinygrad_llm.data import NumberPairs, english_words, french_words
from tinygrad_llm.data.number_words import is_held_out
from tinygrad_llm.errors import ConfigError

KNOWN = {
    0: ("zero", "zéro"),
    1: ("one", "un"),
    16: ("sixteen", "seize"),
    17: ("seventeen", "dix-sept"),
    20: ("twenty", "vingt"),
    21: ("twenty-one", "vingt et un"),
    22: ("twenty-two", "vingt-deux"),
    61: ("sixty-one", "soixante et un"),
    70: ("seventy", "soixante-dix"),
    71: ("seventy-one", "soixante et onze"),
    77: ("seventy-seven", "soixante-dix-sept"),
    80: ("eighty", "quatre-vingts"),
    81: ("eighty-one", "quatre-vingt-un"),
    90: ("ninety", "quatre-vingt-dix"),
    91: ("ninety-one", "quatre-vingt-onze"),
    99: ("ninety-nine", "quatre-vingt-dix-neuf"),
    100: ("one hundred", "cent"),
    101: ("one hundred and one", "cent un"),
    180: ("one hundred and eighty", "cent quatre-vingts"),
    200: ("two hundred", "deux cents"),
    201: ("two hundred and one", "deux cent un"),
    1000: ("one thousand", "mille"),
    1001: ("one thousand and one", "mille un"),
    1100: ("one thousand one hundred", "mille cent"),
    2000: ("two thousand", "deux mille"),
    80_000: ("eighty thousand", "quatre-vingt mille"),
    80_080: ("eighty thousand and eighty", "quatre-vingt mille quatre-vingts"),
    200_000: ("two hundred thousand", "deux cent mille"),
    200_200: ("two hundred thousand two hundred", "deux cent mille deux cents"),
    71_071: ("seventy-one thousand and seventy-one", "soixante et onze mille soixante et onze"),
    999_999: (
        "nine hundred and ninety-nine thousand nine hundred and ninety-nine",
        "neuf cent quatre-vingt-dix-neuf mille neuf cent quatre-vingt-dix-neuf",
    ),
}


@pytest.mark.parametrize("number", KNOWN)
def test_knows_the_rules_of_both_languages(number: int) -> None:
    assert (english_words(number), french_words(number)) == KNOWN[number]


@pytest.mark.parametrize("words", [english_words, french_words])
def test_all_numbers_have_distinct_words(words: Callable[..., Any]) -> None:
    numbers = [*range(2000), *range(2000, 1_000_000, 997)]
    assert len({words(number) for number in numbers}) == len(numbers)


@pytest.mark.parametrize("words", [english_words, french_words])
@pytest.mark.parametrize("number", [-1, 1_000_000])
def test_other_numbers_are_refused(words: Callable[..., Any], number: int) -> None:
    with pytest.raises(ConfigError, match=f"must be in 0..999,999; got {number}"):
        words(number)


def test_pairs_have_all_lengths_and_held_out_ones_are_separate() -> None:
    seen, kept = NumberPairs(6000, seed=1), NumberPairs(3000, held_out=True, seed=2)
    assert len(seen) == 6000 and len(kept) == 3000
    assert not set(seen.numbers.tolist()) & set(kept.numbers.tolist())
    digits = [len(str(number)) for number in seen.numbers]
    assert min(digits.count(n) for n in range(1, 7)) > 700
    number = int(seen.numbers[5])
    assert seen[5] == (english_words(number), french_words(number))
    np.testing.assert_array_equal(NumberPairs(100, seed=1).numbers, NumberPairs(100, seed=1).numbers)


def test_one_number_in_ten_is_held_out_and_every_word_is_trained_on() -> None:
    held = is_held_out(np.arange(1_000_000))
    assert 0.099 < held.mean() < 0.101 and not held[:100].any()
    assert all(0.08 < held[last::10].mean() < 0.12 for last in range(10))
