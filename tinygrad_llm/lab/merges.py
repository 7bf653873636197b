"""The merges of byte pair encoding on a text, in the order in which they happen, so that it can be cut at any rank."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Any

from tinygrad_llm.errors import ConfigError
from tinygrad_llm.text import BPETokenizer, Tokenizer
from tinygrad_llm.text.bpe_encoding import split_pieces

MOST_CHARACTERS = 2_000  # of a text
MERGES = 500  # of the encoding that is learned where a tokenizer has none
BYTES = 256

Merge = tuple[int, int]  # the rank of the new token, and the place of its left part in the row of tokens


def learned_tokenizer(text: str) -> BPETokenizer:
    """A byte pair encoding of at most MERGES merges, learned from `text`."""
    return BPETokenizer.train(text, BYTES + MERGES, special_tokens=())


def describe_merges(tokenizer: Tokenizer, kind: str, text: str) -> dict[str, Any]:
    """The answer `merges`: for each piece its bytes, and its merges. Raises: ConfigError for a long text

    `first` is the rank of the first merge: a cut at rank r has made the merges with a rank below r.
    """
    if len(text) > MOST_CHARACTERS:
        raise ConfigError(f"merges: at most {MOST_CHARACTERS:,} characters are cut; got {len(text):,}")
    ranks: dict[bytes, int] = getattr(tokenizer, "ranks", {})
    pieces = [piece.encode() for piece in split_pieces(text)]
    return {
        "kind": kind,
        "ranks": len(ranks),
        "first": min((rank for token, rank in ranks.items() if len(token) > 1), default=len(ranks)),
        "text": text,
        "pieces": [{"bytes": piece.hex(), "merges": merges_of(piece, ranks)} for piece in pieces],
    }


def merges_of(piece: bytes, ranks: dict[bytes, int]) -> list[Merge]:
    """The merges of `plain_bpe.encode`: of all adjacent pairs that form a token the lowest rank first.

    >>> ranks = {b"l": 0, b"o": 1, b"w": 2, b"lo": 3, b"low": 4}
    >>> merges_of(b"low", ranks)
    [(3, 0), (4, 0)]
    """
    parts = [bytes([byte]) for byte in piece]
    merges: list[Merge] = []
    while len(parts) > 1:
        rank, place = min((ranks.get(left + right, math.inf), i) for i, (left, right) in enumerate(pairwise(parts)))
        if rank == math.inf:
            break
        merges.append((int(rank), place))
        parts[place : place + 2] = [parts[place] + parts[place + 1]]
    return merges


def cut_at(piece: bytes, merges: list[Merge], rank: int) -> list[bytes]:
    """The tokens of a piece after its merges with a rank below `rank`, as the page computes them."""
    parts = [bytes([byte]) for byte in piece]
    for merged, place in merges:
        if merged >= rank:
            break
        parts[place : place + 2] = [parts[place] + parts[place + 1]]
    return parts
