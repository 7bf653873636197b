"""The text that a vocabulary is trained on: a whole text, or a sample of a long one."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterable, Iterator
from functools import partial

from tinygrad_llm.data import LongText
from tinygrad_llm.text import END_OF_TEXT
from tinygrad_llm.text.bpe_training import count_pieces
from tinygrad_llm.text.chunks import cut_into_chunks, last_safe_cut
from tinygrad_llm.train.parallel.mapping import map_in_workers, usual_workers

SHARED = 1e7  # bytes: several processes count the pieces of a longer sample; one counts about 12 MB a second
STRETCH = 1 << 16  # characters of consecutive text


def vocabulary_sample(text: LongText, stop: int, size: float) -> Iterator[str]:
    """The first `stop` characters of `text`, or stretches evenly spaced over them, of about `size` bytes together.

    The stretches are cut between words, so that no word is counted in parts. The same text and size give the same
    sample. Units: size in bytes as UTF-8
    """
    survey = text.survey
    share = size / max(survey.bytes * stop / survey.characters, 1)
    length = max(1, int(min(STRETCH, size)))
    pieces = (block[at : at + length] for block in text.blocks(0, stop) for at in range(0, len(block), length))
    stretches = cut_into_chunks(pieces, lambda part, start: last_safe_cut(part, start, [END_OF_TEXT]))
    taken = 0
    for number, stretch in enumerate(stretches):
        if share >= 1 or number * share >= taken:
            taken += 1
            yield stretch


def pieces_of_sample(
    text: LongText, stop: int, size: float, special_tokens: Iterable[str], workers: int | None = None
) -> Counter[bytes]:
    """How often each piece occurs in a `vocabulary_sample`, as `count_pieces` counts them.

    `workers` processes, by default `usual_workers()`, count a long sample: each reads it and counts every n-th stretch.
    """
    if min(size, text.survey.bytes) < SHARED:
        workers = 1
    elif workers is None:
        workers = usual_workers()
    counted = partial(_count, text, stop, size, list(special_tokens), workers)
    total, *others = map_in_workers(counted, range(workers), workers=workers, seconds_alone=0)
    for counts in others:
        total.update(counts)
    return total


def _count(
    text: LongText, stop: int, size: float, special_tokens: list[str], workers: int, rank: int
) -> Counter[bytes]:
    return count_pieces(itertools.islice(vocabulary_sample(text, stop, size), rank, None, workers), special_tokens)
