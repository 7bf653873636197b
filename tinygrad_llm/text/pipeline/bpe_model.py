"""Byte pair encoding as a definition lists it: merges in their order, or scores of tokens (Sennrich et al. 2016,
arXiv:1508.07909).

A piece starts as single characters. Of all adjacent pairs that may be merged, the one of the lowest rank is, the
leftmost of ties, until none is left. Merges are followed as listed: with "a b", "b c" and "a bc", the piece "abc"
becomes "ab", "c", although "abc" is a token. A rank-based encoder such as tiktoken would look "abc" up first, which
is right only with `ignore_merges`; so it is not used here.

A character that is no token becomes the tokens of its bytes (`byte_fallback`), or the unknown token, or nothing.
"""

from __future__ import annotations

import heapq
from collections.abc import Mapping
from itertools import accumulate, pairwise

from tinygrad_llm.errors import TokenizerError
from tinygrad_llm.formats.strict_json import shown
from tinygrad_llm.text.pipeline.fields import Fields
from tinygrad_llm.text.pipeline.safe_cuts import part_pattern
from tinygrad_llm.text.pipeline.vocabulary import Token, Vocabulary, read_vocabulary

_NEVER = 1 << 62  # the rank of a pair that is not merged
_LONG = 400  # parts; a longer piece is merged with a heap


class BPEModel:
    """A vocabulary with ranks of merges. `ids` and `tokens` encode one piece."""

    def __init__(
        self,
        vocabulary: Vocabulary,
        ranks: Mapping[str, int],
        separator: str,
        unknown: str | None = None,
        prefix: str = "",
        suffix: str = "",
        fuse_unknown: bool = False,
        byte_fallback: bool = False,
        ignore_merges: bool = False,
    ) -> None:
        """`ranks` has the rank of each pair, written as its two tokens with `separator` between. With scores, the
        separator is empty: all pairs that make the same token have one rank.

        `prefix` begins each token that continues a piece, `suffix` ends each that ends one.

        Raises: TokenizerError if `unknown` is not in the vocabulary
        """
        if unknown is not None and unknown not in vocabulary.ids:
            raise TokenizerError(f"the model's unk_token {shown(unknown)} must be in the vocabulary")
        self.vocabulary, self.ignore_merges = vocabulary, ignore_merges
        self._id_of = vocabulary.ids
        self._ranks, self._separator = ranks, separator
        self._unknown, self._prefix, self._suffix = unknown, prefix, suffix
        self._fuse_unknown = fuse_unknown
        names = [f"<0x{byte:02X}>" for byte in range(256)] if byte_fallback else []
        self._byte_tokens = [name if name in self._id_of else None for name in names]
        self._part = None if prefix or suffix else part_pattern(vocabulary, unknown)

    def safe_parts(self, piece: str) -> list[str]:
        """The piece in parts that no merge crosses (see safe_cuts.py)."""
        if self._part is None or (self.ignore_merges and piece in self._id_of):
            return [piece]
        return self._part.findall(piece)

    def ids(self, piece: str) -> list[int]:
        """The ids of a piece."""
        whole = self._id_of.get(piece) if self.ignore_merges else None
        if whole is not None:
            return [whole]
        parts, _ = self._parts(piece)
        self._merge(parts, None)
        return [self._id_of[part] for part in parts]

    def tokens(self, piece: str) -> list[Token]:
        """The ids of a piece, each with its start and end in the bytes of the piece."""
        whole = self._id_of.get(piece) if self.ignore_merges else None
        if whole is not None:
            return [(whole, 0, len(piece.encode()))]
        parts, sizes = self._parts(piece)
        self._merge(parts, sizes)
        ends = [0, *accumulate(sizes)]
        return [(self._id_of[part], start, end) for part, (start, end) in zip(parts, pairwise(ends), strict=True)]

    def _parts(self, piece: str) -> tuple[list[str], list[int]]:
        """The tokens that the merging starts with, and their sizes in bytes."""
        id_of, prefix, suffix = self._id_of, self._prefix, self._suffix
        characters = list(piece)
        if prefix:
            characters[1:] = [prefix + character for character in characters[1:]]
        if suffix and characters:
            characters[-1] += suffix
        if all(map(id_of.__contains__, characters)):
            return characters, [len(character.encode()) for character in piece]
        parts: list[str] = []
        sizes: list[int] = []
        pending = 0  # bytes of an unknown token that is not yet in `parts`
        for character, spelled in zip(piece, characters, strict=True):
            size = len(character.encode())
            if spelled in id_of:
                if pending and self._unknown is not None:
                    parts.append(self._unknown)
                    sizes.append(pending)
                    pending = 0
                parts.append(spelled)
                sizes.append(size)
                continue
            names = [self._byte_tokens[byte] for byte in spelled.encode()] if self._byte_tokens else [None]
            if None not in names:
                parts += [name for name in names if name is not None]
                sizes += [1] * len(names)
            elif self._unknown is not None:
                if pending and not self._fuse_unknown:
                    parts.append(self._unknown)
                    sizes.append(pending)
                    pending = 0
                pending += size
        if pending and self._unknown is not None:
            parts.append(self._unknown)
            sizes.append(pending)
        return parts, sizes

    def _merge(self, parts: list[str], sizes: list[int] | None) -> None:
        """Merge in place, the lowest rank first; `sizes` are added up alongside."""
        if len(parts) > _LONG:
            self._merge_long(parts, sizes)
            return
        rank_of, between, skip = self._ranks.get, self._separator, len(self._prefix)
        ranks = [rank_of(left + between + right, _NEVER) for left, right in pairwise(parts)]
        while ranks:
            lowest = min(ranks)
            if lowest == _NEVER:
                return
            at = ranks.index(lowest)
            parts[at : at + 2] = [parts[at] + parts[at + 1][skip:]]
            del ranks[at]
            if sizes is not None:
                sizes[at : at + 2] = [sizes[at] + sizes[at + 1]]
            if at < len(ranks):
                ranks[at] = rank_of(parts[at] + between + parts[at + 1], _NEVER)
            if at:
                ranks[at - 1] = rank_of(parts[at - 1] + between + parts[at], _NEVER)

    def _merge_long(self, parts: list[str], sizes: list[int] | None) -> None:
        """The same in n log n steps: a heap holds the pairs; a part is known by where it began."""
        size, rank_of, between, skip = len(parts), self._ranks.get, self._separator, len(self._prefix)
        after = [*range(1, size), -1]  # the part after each; -2 once it is merged into the one before
        before = [-1, *range(size - 1)]
        heap = [
            (rank, at)
            for at, (left, right) in enumerate(pairwise(parts))
            if (rank := rank_of(left + between + right)) is not None
        ]
        heapq.heapify(heap)
        while heap:
            rank, at = heapq.heappop(heap)
            follower = after[at]
            if follower < 0 or rank_of(parts[at] + between + parts[follower]) != rank:
                continue  # one of the two was merged with another since
            parts[at] += parts[follower][skip:]
            if sizes is not None:
                sizes[at] += sizes[follower]
            after[at], after[follower] = after[follower], -2
            if after[at] >= 0:
                before[after[at]] = at
            for left in (before[at], at):
                if left >= 0 and after[left] >= 0:
                    new_rank = rank_of(parts[left] + between + parts[after[left]])
                    if new_rank is not None:
                        heapq.heappush(heap, (new_rank, left))
        alive = [at for at in range(size) if after[at] != -2]
        parts[:] = [parts[at] for at in alive]
        if sizes is not None:
            sizes[:] = [sizes[at] for at in alive]


def read_bpe(fields: Fields) -> BPEModel:
    """The model of a definition's field `model` of type BPE. Raises: TokenizerError"""
    if fields.number("dropout", 0):
        raise fields.refusal("dropout", "unset, for it draws tokens at random", "a rate")
    vocabulary = read_vocabulary(fields)
    prefix, suffix = fields.text("continuing_subword_prefix", ""), fields.text("end_of_word_suffix", "")
    scores = fields.raw("scores", None)
    if scores is not None:
        ranks, separator = _ranks_by_score(scores, vocabulary, fields), ""
        if fields.raw("merges", None) is not None or prefix:
            raise TokenizerError(f"{fields.where}: 'scores' stand in place of merges; got both, or a prefix")
    else:
        ranks, separator = _ranks_of_merges(fields.items("merges"), vocabulary, len(prefix), fields.where)
    return BPEModel(
        vocabulary,
        ranks,
        separator,
        fields.text("unk_token", None),
        prefix,
        suffix,
        fields.flag("fuse_unk", False),
        fields.flag("byte_fallback", False),
        fields.flag("ignore_merges", False),
    )


def _ranks_of_merges(merges: list[object], vocabulary: Vocabulary, skip: int, where: str) -> tuple[dict[str, int], str]:
    """The rank of each merge, and the separator of its key. A merge is "left right" or [left, right].

    Raises: TokenizerError for a merge that is not two tokens which make a token
    """
    separator, id_of = vocabulary.free_separator(), vocabulary.ids
    ranks: dict[str, int] = {}
    for index, merge in enumerate(merges):
        pair = merge.split(" ") if type(merge) is str else merge
        if type(pair) is not list or len(pair) != 2 or type(pair[0]) is not str or type(pair[1]) is not str:
            raise TokenizerError(f"{where}.merges[{index}] must be two tokens; got {shown(merge)}")
        left, right = pair
        if left not in id_of or right not in id_of or left + right[skip:] not in id_of:
            unknown = next(token for token in (left, right, left + right[skip:]) if token not in id_of)
            raise TokenizerError(f"{where}.merges[{index}]: {shown(unknown)} must be in the vocabulary")
        ranks[left + separator + right] = index
    return ranks, separator


def _ranks_by_score(scores: object, vocabulary: Vocabulary, fields: Fields) -> dict[str, int]:
    """The rank of each token that merging may make: the higher its score, the lower. Null marks one it may not."""
    size = len(vocabulary.ids)
    if not isinstance(scores, list) or len(scores) != size:
        raise fields.refusal("scores", f"a list of a score or null for each of the {size} tokens", scores)
    wrong = next((score for score in scores if score is not None and type(score) not in (int, float)), None)
    if wrong is not None:
        raise fields.refusal("scores", "numbers or null", wrong)
    places = {score: place for place, score in enumerate(sorted({s for s in scores if s is not None}, reverse=True))}
    return {token: places[score] for token, score in zip(vocabulary.ids, scores, strict=True) if score is not None}
