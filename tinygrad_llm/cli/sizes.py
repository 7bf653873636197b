"""Numbers of parameters as people write them: 1M, 124M, 1.5B."""

from __future__ import annotations

import argparse
import re

UNITS = {"": 1, "K": 10**3, "M": 10**6, "B": 10**9, "G": 10**9}


def count_of(text: str) -> int:
    """The number that `1M`, `300k` or `1000000` stands for.

    >>> count_of("1.5M")
    1500000
    """
    found = re.fullmatch(r"(\d{1,15}(?:\.\d{1,9})?)([KMBG]?)", text.strip().upper())
    if not found:
        raise argparse.ArgumentTypeError(f"must be a number such as 300K, 1M or 1000000; got {text!r}")
    return round(float(found[1]) * UNITS[found[2]])


def short_count(count: int) -> str:
    """A number with three digits at most.

    >>> [short_count(number) for number in (950, 47_000, 999_960, 1_240_000, 124_000_000, 1_500_000_000)]
    ['950', '47K', '1M', '1.2M', '124M', '1.5B']
    """
    for unit, size in (("B", 10**9), ("M", 10**6), ("K", 10**3)):
        if count >= 0.9995 * size:
            value = count / size
            return f"{value:.0f}{unit}" if value >= 99.95 else f"{value:.1f}".removesuffix(".0") + unit
    return str(count)
