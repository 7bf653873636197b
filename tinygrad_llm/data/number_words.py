"""Numbers in English and in French words: translations that can be computed, and too many to memorise.

French counts by twenties from 60 to 99 and has endings where English has none: soixante et onze is 71, quatre-vingts
has an s that quatre-vingt-un has not, deux cents loses its own before another numeral, and mille never has one.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tinygrad_llm.checks import expect_count
from tinygrad_llm.data.translation import Pair
from tinygrad_llm.errors import ConfigError
from tinygrad_llm.random import Generator

NUMBERS = 1_000_000  # 0 to 999,999

ENGLISH_SMALL = [
    "zero",
    "one",
    "two",
    "three",
    "four",
    "five",
    "six",
    "seven",
    "eight",
    "nine",
    "ten",
    "eleven",
    "twelve",
    "thirteen",
    "fourteen",
    "fifteen",
    "sixteen",
    "seventeen",
    "eighteen",
    "nineteen",
]
ENGLISH_TENS = [
    "zero",
    "ten",
    "twenty",
    "thirty",
    "forty",
    "fifty",
    "sixty",
    "seventy",
    "eighty",
    "ninety",
]
FRENCH_SMALL = [
    "zéro",
    "un",
    "deux",
    "trois",
    "quatre",
    "cinq",
    "six",
    "sept",
    "huit",
    "neuf",
    "dix",
    "onze",
    "douze",
    "treize",
    "quatorze",
    "quinze",
    "seize",
    "dix-sept",
    "dix-huit",
    "dix-neuf",
]
FRENCH_TENS = [
    "zéro",
    "dix",
    "vingt",
    "trente",
    "quarante",
    "cinquante",
    "soixante",
    "soixante",
    "quatre-vingt",
    "quatre-vingt",
]


def english_words(number: int) -> str:
    """A number below a million in British English.

    >>> english_words(21_105)
    'twenty-one thousand one hundred and five'
    """
    thousands, rest = divmod(_expect_number("english_words", number), 1000)
    words = [_english_below_thousand(thousands), "thousand"] if thousands else []
    if thousands and 0 < rest < 100:
        words.append("and")
    if rest or not thousands:
        words.append(_english_below_thousand(rest))
    return " ".join(words)


def _english_below_thousand(number: int) -> str:
    hundreds, rest = divmod(number, 100)
    words = [ENGLISH_SMALL[hundreds], "hundred"] if hundreds else []
    if hundreds and rest:
        words.append("and")
    if rest >= 20:
        tens, ones = divmod(rest, 10)
        words.append(ENGLISH_TENS[tens] + (f"-{ENGLISH_SMALL[ones]}" if ones else ""))
    elif rest or not hundreds:
        words.append(ENGLISH_SMALL[rest])
    return " ".join(words)


def french_words(number: int) -> str:
    """A number below a million in French, in the spelling before 1990 (which hyphenates all parts).

    >>> [french_words(number) for number in (71, 80, 81, 200, 201, 80_000, 200_000, 1_001)]
    ['soixante et onze', 'quatre-vingts', 'quatre-vingt-un', 'deux cents', 'deux cent un', 'quatre-vingt mille', \
'deux cent mille', 'mille un']
    """
    thousands, rest = divmod(_expect_number("french_words", number), 1000)
    words = []
    if thousands > 1:
        words.append(_french_below_thousand(thousands, plural=False))  # no s before the numeral mille
    if thousands:
        words.append("mille")
    if rest or not thousands:
        words.append(_french_below_thousand(rest, plural=True))
    return " ".join(words)


def _french_below_thousand(number: int, plural: bool) -> str:
    hundreds, rest = divmod(number, 100)
    words = [FRENCH_SMALL[hundreds]] if hundreds > 1 else []
    if hundreds:
        words.append("cents" if hundreds > 1 and not rest and plural else "cent")
    if rest or not hundreds:
        words.append(_french_below_hundred(rest, plural))
    return " ".join(words)


def _french_below_hundred(number: int, plural: bool) -> str:
    if number < 20:
        return FRENCH_SMALL[number]
    tens, ones = divmod(number, 10)
    if tens in (7, 9):
        ones += 10  # soixante-dix, quatre-vingt-dix: the twenties have twenty numbers
    if number == 80:
        return "quatre-vingts" if plural else "quatre-vingt"
    if not ones:
        return FRENCH_TENS[tens]
    if ones in (1, 11) and tens < 8:
        return f"{FRENCH_TENS[tens]} et {FRENCH_SMALL[ones]}"
    return f"{FRENCH_TENS[tens]}-{FRENCH_SMALL[ones]}"


def _expect_number(owner: str, number: int) -> int:
    if not 0 <= number < NUMBERS:
        raise ConfigError(f"{owner}: the number must be in 0..{NUMBERS - 1:,}; got {number}")
    return number


class NumberPairs:
    """Pairs of English and French words for `count` random numbers, each computed when it is indexed.

    A number has one to six digits, with equal probability, so that short numbers are as frequent as long ones. One
    number in ten above 99 is held out: `held_out` selects either those or all others.

    Raises: ConfigError for a count below 1
    """

    def __init__(self, count: int, held_out: bool = False, seed: int = 0) -> None:
        expect_count("NumberPairs", "count", count)
        generator = Generator(seed)
        found = np.empty(0, np.int64)
        while len(found) < count:
            lengths = generator.randint(1, 7, (2 * count,))
            drawn = generator.randint(0, NUMBERS, (2 * count,)) % 10**lengths
            found = np.concatenate([found, drawn[is_held_out(drawn) == held_out]])
        self.numbers = found[:count]

    def __len__(self) -> int:
        return len(self.numbers)

    def __getitem__(self, index: int) -> Pair:
        number = int(self.numbers[index])
        return Pair(english_words(number), french_words(number))


def is_held_out(numbers: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Which numbers are held out of training: one in ten above 99, by a hash, so that no word predicts it."""
    return (numbers > 99) & ((numbers * 2_654_435_761 % 2**32 >> 16) % 10 == 0)
