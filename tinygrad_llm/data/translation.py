"""Translation pairs: reading, encoding, and padding into batches."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from tinygrad_llm.data.files import read_text
from tinygrad_llm.data.loader import Dataset
from tinygrad_llm.data.padding import IGNORE_INDEX, Encoder, pad_right
from tinygrad_llm.errors import DataError


class Pair(NamedTuple):
    """A text and its translation."""

    source: str
    target: str


def read_pairs(path: str | os.PathLike[str]) -> list[Pair]:
    """The pairs of a file with a source, a tab and its target on each line; further columns are ignored.

    A quote is an ordinary character here, as in public collections of sentence pairs. Blank lines are left out.

    Raises: DataError, naming the line, if a line has no tab or nothing on one side of it; and as `read_text`
    """
    text = read_text(path)
    pairs = []
    for number, line in enumerate(text.split("\n"), 1):  # not splitlines(): a text may hold U+2028 and its like
        if not line.strip():
            continue
        fields = [field.strip() for field in line.split("\t")]
        if len(fields) < 2 or not fields[0] or not fields[1]:
            raise DataError(
                f"{os.fspath(path)}, line {number}: must be a text, a tab and its translation; "
                f"got {line.strip()[:60]!r}"
            )
        pairs.append(Pair(fields[0], fields[1]))
    if not pairs:
        raise DataError(f"{os.fspath(path)} must hold at least one pair of texts; got only blank lines")
    return pairs


class TokenizedPair(NamedTuple):
    """Source and target as ids; the source ends, and the target begins and ends, with the end-of-text id."""

    source: list[int]
    target: list[int]


class TranslationDataset:
    """Pairs as ids, each encoded when it is indexed, so that pairs may be generated on demand."""

    def __init__(self, pairs: Dataset, tokenizer: Encoder, end_id: int) -> None:
        self.pairs, self.tokenizer, self.end_id = pairs, tokenizer, end_id

    def __len__(self) -> int:
        return len(self.pairs)

    def __getitem__(self, index: int) -> TokenizedPair:
        source, target = self.pairs[index]
        encode, end = self.tokenizer.encode_ordinary, self.end_id
        return TokenizedPair([*encode(source), end], [end, *encode(target), end])


class TranslationBatch(NamedTuple):
    """Sources with their lengths; targets without the last token as inputs, and without the first as targets.

    Shapes: source (B, S), source_lengths (B,), inputs and targets (B, T); targets hold -100 where inputs are padding
    """

    source: NDArray[np.int64]
    source_lengths: NDArray[np.int64]
    inputs: NDArray[np.int64]
    targets: NDArray[np.int64]

    @property
    def num_targets(self) -> int:
        """The number of losses that the batch's mean is taken over."""
        return int(np.count_nonzero(self.targets != IGNORE_INDEX))


def collate_translation(items: Sequence[TokenizedPair]) -> TranslationBatch:
    """Pad sources and targets on the right with 0, each to the longest of the batch."""
    lengths = np.array([len(item.source) for item in items])
    width = max(len(item.target) for item in items) - 1
    inputs = pad_right([item.target[:-1] for item in items], width, 0)
    targets = pad_right([item.target[1:] for item in items], width, 0)
    targets[np.arange(width) >= np.array([[len(item.target) - 1] for item in items])] = IGNORE_INDEX
    return TranslationBatch(pad_right([item.source for item in items], int(lengths.max()), 0), lengths, inputs, targets)
