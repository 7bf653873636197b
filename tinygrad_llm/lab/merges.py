"""The merges of byte pair encoding on a text, in the order in which they happen, so that it can be cut at any rank."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from tinygrad_llm.errors import ConfigError
from tinygrad_llm.text import BPETokenizer, Tokenizer
from tinygrad_llm.text.bpe_encoding import split_pieces
from tinygrad_llm.text.pipeline.byte_alphabet import bytes_of
from tinygrad_llm.text.pipeline.tokenizer import PipelineTokenizer

MOST_CHARACTERS = 2_000  # of a text
MERGES = 500  # of the encoding that is learned where a tokenizer has none
BYTES = 256

Merge = tuple[int, int]  # the rank of the new token, and the place of its left part in the row of tokens


def learned_tokenizer(text: str) -> BPETokenizer:
    """A byte pair encoding of at most MERGES merges, learned from `text`."""
    return BPETokenizer.train(text, BYTES + MERGES, special_tokens=())


@dataclass(frozen=True)
class Merging:
    """The merges of a tokenizer: how a text is cut into pieces, and the rank of each pair of tokens that is merged.

    A cut at rank r has made the merges with a rank below r; `first` is the lowest rank, `ranks` above the highest.
    """

    kind: str
    pieces_of: Callable[[str], list[bytes]]
    rank_of: Callable[[bytes, bytes], float]
    first: int
    ranks: int

    @classmethod
    def of_ranks(cls, tokenizer: BPETokenizer, kind: str) -> Merging:
        """Of a tokenizer whose tokens have ranks: a pair has that of the token it makes."""
        ranks = tokenizer.ranks
        first = min((rank for token, rank in ranks.items() if len(token) > 1), default=len(ranks))

        def rank_of(left: bytes, right: bytes) -> float:
            return ranks.get(left + right, math.inf)

        return cls(kind, lambda text: [piece.encode() for piece in split_pieces(text)], rank_of, first, len(ranks))

    @classmethod
    def of_pipeline(cls, tokenizer: PipelineTokenizer, kind: str) -> Merging | None:
        """Of a tokenizer.json with a list of merges of bytes; None for another one."""
        listed = tokenizer.definition["model"].get("merges")
        if not isinstance(listed, list) or tokenizer.byte_pieces("") is None:
            return None
        pairs = [pair.split(" ") if isinstance(pair, str) else pair for pair in listed]
        ranks = {(bytes_of(left), bytes_of(right)): rank for rank, (left, right) in enumerate(pairs)}

        def rank_of(left: bytes, right: bytes) -> float:
            return ranks.get((left, right), math.inf)

        return cls(kind, lambda text: tokenizer.byte_pieces(text) or [], rank_of, 0, len(ranks))

    @classmethod
    def of(cls, tokenizer: Tokenizer, kind: str = "") -> Merging | None:
        """Of a tokenizer with merges of bytes; None for another one."""
        if isinstance(tokenizer, BPETokenizer):
            return cls.of_ranks(tokenizer, kind)
        return cls.of_pipeline(tokenizer, kind) if isinstance(tokenizer, PipelineTokenizer) else None

    def pieces(self, text: str) -> list[tuple[bytes, list[Merge]]]:
        """The bytes of each piece of a text, and its merges."""
        return [(piece, merges_of(piece, self.rank_of)) for piece in self.pieces_of(text)]

    def describe(self, text: str) -> dict[str, Any]:
        """The answer `merges`: for each piece its bytes and its merges. Raises: ConfigError for a long text"""
        if len(text) > MOST_CHARACTERS:
            raise ConfigError(f"merges: at most {MOST_CHARACTERS:,} characters are cut; got {len(text):,}")
        pieces = [{"bytes": piece.hex(), "merges": merges} for piece, merges in self.pieces(text)]
        return {"kind": self.kind, "ranks": self.ranks, "first": self.first, "text": text, "pieces": pieces}


def merging_of(tokenizer: Tokenizer, text: str) -> Merging:
    """The merges of a tokenizer; where it has none that merge bytes, those of an encoding learned from `text`."""
    if (found := Merging.of(tokenizer, "the model's own tokenizer")) is not None:
        return found
    learned = learned_tokenizer(text)
    return Merging.of_ranks(
        learned, f"a byte pair encoding of {len(learned.ranks) - BYTES} merges, learned from the lab's text"
    )


def merges_of(piece: bytes, rank_of: Callable[[bytes, bytes], float]) -> list[Merge]:
    """The merges of `plain_bpe.encode`: of all adjacent pairs that form a token the lowest rank first.

    >>> ranks = {b"lo": 3, b"low": 4}
    >>> merges_of(b"low", lambda left, right: ranks.get(left + right, math.inf))
    [(3, 0), (4, 0)]
    """
    parts = [bytes([byte]) for byte in piece]
    merges: list[Merge] = []
    while len(parts) > 1:
        rank, place = min((rank_of(left, right), i) for i, (left, right) in enumerate(pairwise(parts)))
        if rank == math.inf:
            break
        merges.append((int(rank), place))
        parts[place : place + 2] = [parts[place] + parts[place + 1]]
    return merges
