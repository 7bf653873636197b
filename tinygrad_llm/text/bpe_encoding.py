"""Splitting a text into pieces, and encoding one piece: the ids of `plain_bpe.encode` in n log n steps.

Text is first split into pieces, and no token crosses from one piece into the next: `SPLIT_PATTERN` separates words,
numbers, punctuation and whitespace; a single space belongs to the word after it.

Two Unicode tables say which characters are letters and numbers: tiktoken's (Rust) and that of Python's `regex`. They
are from different years and disagree on some 17,000 code points, which are letters and numbers in the newer table and
not yet assigned in the older. tiktoken's table decides the ids of `encode`, as in all programs that use GPT-2's
vocabulary through tiktoken. `split_pieces` uses `regex`, and gives the same pieces for every text whose characters both
tables classify alike; otherwise tokens may differ, but both decode to the text. Training splits by `regex`: this
decides what the ranks become, not how a text is split later.
"""

from __future__ import annotations

import heapq
import re
from itertools import pairwise

from tinygrad_llm.text.chunks import WHITESPACE

# GPT-2's pattern with possessive quantifiers (`++` never backtracks), which is faster and splits alike.
SPLIT_PATTERN = "|".join(
    [
        r"'(?:[sdmt]|ll|ve|re)",  # English endings: it's, I'll, we've
        r" ?\p{L}++",  # letters, with one space before them
        r" ?\p{N}++",  # numbers
        r" ?[^\s\p{L}\p{N}]++",  # punctuation and everything else
        r"\s++$",  # whitespace at the end of the text
        r"\s+(?!\S)",  # whitespace without its last character, which may belong to the next word
        r"\s",  # that last character if the next word does not take it: a line break
    ]
)

# tiktoken's stack overflows on some hundred thousand spaces before a word, so a run this long is encoded in two parts.
_LONG_RUN = 5000
_LONG_WHITESPACE = re.compile(f"(?<![{WHITESPACE}])[{WHITESPACE}]{{{_LONG_RUN},}}+(?=.)", re.DOTALL)
_NINE_WHITESPACES = re.compile(f"[{WHITESPACE}]{{9}}")


def split_pieces(text: str) -> list[str]:
    """The pieces of `text` that no token crosses; joined they are the text.

    >>> split_pieces("It's 2 a.m.,  isn't it?")
    ['It', "'s", ' 2', ' a', '.', 'm', '.,', ' ', ' isn', "'t", ' it', '?']
    """
    import regex

    return regex.findall(SPLIT_PATTERN, text)


def encode_piece(piece: bytes, ranks: dict[bytes, int]) -> list[int]:
    """The ids of one piece: merge adjacent pairs, the lowest rank first, the leftmost of ties.

    A heap holds the pairs that can be merged, so a piece of n bytes takes n log n steps. A part is known by where it
    starts; the end of one is the start of the next.

    >>> encode_piece(b"aaa", {b"a": 0, b"aa": 1})
    [1, 0]
    """
    size = len(piece)
    end = list(range(1, size + 1))  # end[start] of the part that starts there; 0 once it is merged into the one before
    before = list(range(-1, size))  # the start of the part that ends where this one starts

    def rank_of_pair(start: int) -> int | None:
        middle = end[start]
        return ranks.get(piece[start : end[middle]]) if middle < size else None

    heap = [(rank, start) for start in range(size - 1) if (rank := rank_of_pair(start)) is not None]
    heapq.heapify(heap)
    while heap:
        rank, start = heapq.heappop(heap)
        if not end[start] or rank_of_pair(start) != rank:
            continue  # one of the two was merged with another since
        middle = end[start]
        end[start], end[middle] = end[middle], 0
        if end[start] < size:
            before[end[start]] = start
        for neighbour in (before[start], start):
            if neighbour >= 0 and (new_rank := rank_of_pair(neighbour)) is not None:
                heapq.heappush(heap, (new_rank, neighbour))

    ids, start = [], 0
    while start < size:
        ids.append(ranks[piece[start : end[start]]])
        start = end[start]
    return ids


def parts_for_tiktoken(text: str) -> list[str]:
    """The text, cut before the last whitespace of each very long run, where pieces end anyway."""
    # Every 500th character of a run of 5,000 gives nine in a row: this quick test spares nearly every text the search.
    if not _NINE_WHITESPACES.search(text[:: _LONG_RUN // 10]):
        return [text]
    cuts = [match.end() - 1 for match in _LONG_WHITESPACE.finditer(text)]
    return [text[start:stop] for start, stop in pairwise([0, *cuts, len(text)])]
