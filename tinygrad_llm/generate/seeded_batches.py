"""Batches of questions whose answers are sampled, each with a random stream of its own: the answers are the same
whichever worker computes a batch, and whenever.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from tinygrad_llm.random import Generator

Question = TypeVar("Question")


@dataclass(frozen=True)
class SeededBatch(Generic[Question]):
    """Consecutive questions, the number of the first one among all, and the seed of all batches."""

    questions: Sequence[Question]
    first: int
    seed: int

    def generator(self) -> Generator:
        """The start of this batch's random stream, at every call."""
        return Generator(self.seed).spawn(f"answers {self.first}")


def seeded_batches(questions: Sequence[Question], size: int, seed: int) -> list[SeededBatch[Question]]:
    """All questions in batches of `size`, the last of which may be smaller."""
    return [SeededBatch(questions[first : first + size], first, seed) for first in range(0, len(questions), size)]
