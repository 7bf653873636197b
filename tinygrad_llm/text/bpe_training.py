"""Training byte pair encoding fast: the tokens of `plain_bpe.train`, with counts that are updated, not recomputed.

The distinct pieces of the text lie in one row of symbols, each linked to its neighbours. A merge visits only the
positions of its pair and corrects the counts around them, so the whole training costs about as much as a few passes
over the distinct pieces.
"""

from __future__ import annotations

import heapq
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping
from itertools import pairwise

from tinygrad_llm.text.bpe_encoding import split_pieces
from tinygrad_llm.text.special_tokens import expect_text, split_at_special_tokens

Pair = tuple[int, int]


def count_pieces(texts: Iterable[str], special_tokens: Iterable[str]) -> Counter[bytes]:
    """How often each piece occurs in all texts together; special tokens are left out.

    Raises: TokenizerError if a text is not valid Unicode
    """
    counts: Counter[str] = Counter()
    special = list(special_tokens)
    for text in texts:
        for part in split_at_special_tokens(expect_text(text), special)[::2]:
            counts.update(split_pieces(part))
    return Counter({piece.encode(): count for piece, count in counts.items()})


def train_ranks(
    pieces: Mapping[bytes, int],
    num_merges: int,
    min_pair_count: int = 2,
    progress: Callable[[int, int], None] | None = None,
) -> dict[bytes, int]:
    """Learn up to `num_merges` tokens beyond the 256 bytes; returns every token with its rank.

    `pieces` are the distinct pieces and how often each occurs. Each merge takes the pair with the highest count; of
    pairs with equal counts, the pair of the lowest ids, so that the same pieces give the same tokens on every machine.
    `progress(merges_done, num_merges)` is called after each merge.
    """
    symbols = _LinkedSymbols(pieces)
    heap = [(-count, pair) for pair, count in symbols.pair_count.items()]
    heapq.heapify(heap)
    tokens = [bytes([byte]) for byte in range(256)]
    while heap and len(tokens) < 256 + num_merges:
        negative_count, pair = heapq.heappop(heap)
        count = symbols.pair_count[pair]
        if count < min_pair_count:
            continue
        if count != -negative_count:  # the count has fallen since this entry was pushed
            heapq.heappush(heap, (-count, pair))
            continue
        for changed in symbols.merge(pair, len(tokens)):
            heapq.heappush(heap, (-symbols.pair_count[changed], changed))
        tokens.append(tokens[pair[0]] + tokens[pair[1]])
        if progress is not None:
            progress(len(tokens) - 256, num_merges)
    return {token: rank for rank, token in enumerate(tokens)}


class _LinkedSymbols:
    """All pieces in one row of symbols (token ids), each linked to its neighbours in the piece, and the pairs' counts.

    `pair_count` may hold pairs whose count has fallen to 0.
    """

    def __init__(self, pieces: Mapping[bytes, int]) -> None:
        self.symbols: list[int] = []
        self.weight: list[int] = []  # per position: how often its piece occurs
        self.left: list[int] = []  # per position: the position before it in its piece, or -1
        self.right: list[int] = []
        for piece, count in pieces.items():
            start, stop = len(self.symbols), len(self.symbols) + len(piece)
            self.symbols.extend(piece)
            self.weight.extend([count] * len(piece))
            self.left.extend([-1, *range(start, stop - 1)])
            self.right.extend([*range(start + 1, stop), -1])
        self.pair_count: defaultdict[Pair, int] = defaultdict(int)
        self.positions: defaultdict[Pair, list[int]] = defaultdict(list)  # where a pair is, or was
        for position, pair in enumerate(pairwise(self.symbols)):
            if self.right[position] >= 0:
                self.pair_count[pair] += self.weight[position]
                self.positions[pair].append(position)

    def merge(self, pair: Pair, new: int) -> set[Pair]:
        """Replace each occurrence of `pair` by the symbol `new`; returns the pairs whose counts have risen."""
        first, second = pair
        symbols, left, right = self.symbols, self.left, self.right
        risen = set()
        for position in sorted(self.positions.pop(pair)):  # from the left, so that aaa becomes (aa)a
            neighbour = right[position]
            if symbols[position] != first or neighbour < 0 or symbols[neighbour] != second:
                continue  # an earlier merge, or this one a position before, took one of the two
            before, after, weight = left[position], right[neighbour], self.weight[position]
            if before >= 0:
                self.pair_count[symbols[before], first] -= weight
                risen.add(self._count((symbols[before], new), before, weight))
            if after >= 0:
                self.pair_count[second, symbols[after]] -= weight
                risen.add(self._count((new, symbols[after]), position, weight))
                left[after] = position
            symbols[position], symbols[neighbour], right[position] = new, -1, after
        del self.pair_count[pair]
        return risen

    def _count(self, pair: Pair, position: int, weight: int) -> Pair:
        self.pair_count[pair] += weight
        self.positions[pair].append(position)
        return pair
