"""Random choices for generated texts, and what is held out of them."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from typing import TypeVar

from tinygrad_llm.random import Generator

T = TypeVar("T")
BLOCK = 1024  # numbers per call of the generator: a call for one number takes as long


class Choices:
    """Choices among words or rules; a sentence takes dozens of them. They are drawn from the generator in blocks."""

    def __init__(self, generator: Generator) -> None:
        self.generator = generator
        self._numbers: list[int] = []

    def below(self, count: int) -> int:
        """An integer from 0 to count - 1."""
        if not self._numbers:
            self._numbers = self.generator.randint(0, 2**27, (BLOCK,)).tolist()
        return self._numbers.pop() % count

    def one_of(self, choices: Sequence[T]) -> T:
        return choices[self.below(len(choices))]

    def chance(self, percent: int) -> bool:
        """True with this probability in percent."""
        return self.below(100) < percent


def is_held_out(content: str, one_in: int) -> bool:
    """Whether a content is held out of training: decided by its checksum, and so the same in every run."""
    return zlib.crc32(content.encode()) % one_in == 0
