"""Byte pair encoding as short as the idea: train by merging the most frequent pair, encode by repeating the merges.

Text is a row of bytes, and each byte is a token, 0 to 255. Training counts every pair of adjacent tokens, makes one new
token of the most frequent pair, and repeats this until the vocabulary is full (Sennrich et al. 2016, arXiv:1508.07909).
A token's id is its *rank*: the lower, the earlier it was learned. Encoding a new text applies the same merges in the
same order.

These two functions are the definition. bpe_training.py and bpe_encoding.py compute the same in n log n steps, and
tiktoken in Rust; the tests hold them to the functions here.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable
from itertools import pairwise


def train(pieces: Iterable[bytes], num_merges: int, min_pair_count: int = 2) -> list[bytes]:
    """The tokens, in the order of their ids: all 256 bytes, then one token per merge. No token crosses two pieces.

    Of pairs with equal counts, the pair of the lowest ids is merged. Training ends early when no pair occurs
    `min_pair_count` times.

    >>> train([b"low", b" low", b" lower"], num_merges=3)[256:]
    [b'lo', b'low', b' low']
    """
    tokens = [bytes([byte]) for byte in range(256)]
    rows = [list(piece) for piece in pieces]
    for _ in range(num_merges):
        counts = Counter(pair for row in rows for pair in pairwise(row))
        best = min(counts, key=lambda pair: (-counts[pair], pair), default=None)
        if best is None or counts[best] < min_pair_count:
            break
        rows = [merge(row, best, len(tokens)) for row in rows]
        tokens.append(tokens[best[0]] + tokens[best[1]])
    return tokens


def merge(row: list[int], pair: tuple[int, int], new: int) -> list[int]:
    """The row with each occurrence of `pair` replaced by the token `new`, from the left.

    >>> merge([97, 97, 97, 98], (97, 97), 256)
    [256, 97, 98]
    """
    merged: list[int] = []
    for token in row:
        if token == pair[1] and merged[-1:] == [pair[0]]:
            merged[-1] = new
        else:
            merged.append(token)
    return merged


def encode(piece: bytes, ranks: dict[bytes, int]) -> list[int]:
    """The ids of one piece: of all adjacent pairs that form a token, merge the lowest rank first, the leftmost of ties.

    >>> ranks = {token: rank for rank, token in enumerate(train([b"low", b" low", b" lower"], num_merges=3))}
    >>> encode(b" lowest", ranks)
    [258, 101, 115, 116]
    """
    parts = [bytes([byte]) for byte in piece]
    while len(parts) > 1:
        rank, i = min((ranks.get(left + right, math.inf), i) for i, (left, right) in enumerate(pairwise(parts)))
        if rank == math.inf:
            break
        parts[i : i + 2] = [parts[i] + parts[i + 1]]
    return [ranks[part] for part in parts]
