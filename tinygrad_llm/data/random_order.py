"""The numbers 0 .. n - 1 in random order, computed one by one, for large n.

A permutation as a list needs memory for every number, and a text of a billion characters has millions of windows. A
permutation as a *function* of the position needs none: a small block cipher over 0 .. n - 1. A Feistel network (Luby
and Rackoff 1988, doi:10.1137/0217022) splits a number of b bits into two halves and changes one half by a function of
the other, in turn:

    left ← left ⊕ F(right, key₁),   right ← right ⊕ F(left, key₂),   left ← left ⊕ F(right, key₃),   ...

Each round can be undone whatever F is, so the network permutes 0 .. 2ᵇ - 1. A result of n or more is encrypted again
until it is below n ("cycle walking", Black and Rogaway 2002, doi:10.1007/3-540-45760-7_9); with the smallest possible
b this takes fewer than two passes on average.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tinygrad_llm.random import Generator

ROUNDS = 8  # 4 are enough where the halves are long (Luby and Rackoff); ours have 9 bits or more


class RandomOrder:
    """0 .. n - 1 in an order set by eight words of `generator`; `order[start:stop]` are the numbers at those positions.

    >>> order = RandomOrder(10, Generator(1))
    >>> sorted(order[0:10].tolist())
    [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]
    """

    def __init__(self, n: int, generator: Generator) -> None:
        self.n = n
        bits = max(2, (n - 1).bit_length())
        self._right_bits = np.uint64(bits - bits // 2)
        self._masks = np.uint64((1 << bits // 2) - 1), np.uint64((1 << bits - bits // 2) - 1)
        self._keys = [np.uint64(generator.seed_word()) for _ in range(ROUNDS)]

    def __len__(self) -> int:
        return self.n

    def __getitem__(self, positions: slice) -> NDArray[np.int64]:
        numbers = self._encrypt(np.arange(*positions.indices(self.n), dtype=np.uint64))
        while (outside := numbers >= self.n).any():
            numbers[outside] = self._encrypt(numbers[outside])
        return numbers.astype(np.int64)

    def _encrypt(self, numbers: NDArray[np.uint64]) -> NDArray[np.uint64]:
        left, right = numbers >> self._right_bits, numbers & self._masks[1]
        for round_number, key in enumerate(self._keys):
            if round_number % 2:
                right = right ^ (_mix_bits(left + key) & self._masks[1])
            else:
                left = left ^ (_mix_bits(right + key) & self._masks[0])
        return (left << self._right_bits) | right


def _mix_bits(words: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Each input bit changes about half of the output bits (the finalizer of SplitMix64, Steele et al. 2014)."""
    words = (words ^ (words >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    words = (words ^ (words >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return words ^ (words >> np.uint64(31))
