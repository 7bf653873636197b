"""Unigram language model: of all ways to split a piece into tokens, the most probable (Kudo 2018, arXiv:1804.10959).

Each token has a score, its log probability. The best split is found from left to right, as Viterbi's algorithm does:
the best way to reach a position is the best token that ends there after the best way to reach the token's start.
"""

from __future__ import annotations

from tinygrad_llm.errors import TokenizerError
from tinygrad_llm.formats.strict_json import shown
from tinygrad_llm.text.pipeline.fields import Fields
from tinygrad_llm.text.pipeline.vocabulary import Token, Vocabulary, continuing_bytes

_UNKNOWN_PENALTY = 10.0  # how far the score of an unknown character lies below the lowest score


class UnigramModel:
    """A vocabulary with scores. `ids` and `tokens` encode one piece.

    A row of unknown characters is one unknown token, or the tokens of their bytes.
    """

    def __init__(
        self, vocabulary: Vocabulary, scores: list[float], unknown_id: int | None, byte_fallback: bool
    ) -> None:
        """`scores` in the order of ids."""
        self.vocabulary = vocabulary
        self._id_of, self._scores = vocabulary.ids, scores
        self.unknown_id, self._byte_fallback = unknown_id, byte_fallback
        self._unknown_score = min(scores) - _UNKNOWN_PENALTY
        self._longest: dict[str, int] = {}  # the length of the longest token that begins with a character
        for token in self._id_of:
            self._longest[token[:1]] = max(len(token), self._longest.get(token[:1], 0))

    def ids(self, piece: str) -> list[int]:
        """The ids of a piece."""
        return [number for number, _, _ in self.tokens(piece)]

    def tokens(self, piece: str) -> list[Token]:
        """The ids of a piece, each with its start and end in the bytes of the piece.

        Raises: TokenizerError for a character that is not in a vocabulary without an unknown token
        """
        tokens: list[Token] = []
        at = 0
        for part in self._best_parts(piece):
            end = at + len(part.encode())
            number = self._id_of.get(part)
            fallback = continuing_bytes(self.vocabulary, part) if number is None and self._byte_fallback else None
            if fallback is not None:
                tokens += [(one, at, end) for one in fallback]
            else:
                tokens.append((self._expect_unknown_id(part) if number is None else number, at, end))
            at = end
        return tokens

    def _best_parts(self, piece: str) -> list[str]:
        size = len(piece)
        best = [0.0] * (size + 1)  # the score of the best way to reach each position
        came_from = [-1] * (size + 1)
        is_unknown = [False] * (size + 1)
        for start in range(size):
            reached = best[start]
            for stop in range(start + 1, min(size, start + self._longest.get(piece[start], 0)) + 1):
                number = self._id_of.get(piece[start:stop])
                if number is None:
                    continue
                score = self._scores[number] + reached
                if came_from[stop] < 0 or score > best[stop]:
                    best[stop], came_from[stop] = score, start
                    is_unknown[stop] = number == self.unknown_id
            if piece[start] not in self._id_of:
                score = self._unknown_score + reached
                if came_from[start + 1] < 0 or score > best[start + 1]:
                    self._expect_unknown_id(piece[start])
                    best[start + 1], came_from[start + 1], is_unknown[start + 1] = score, start, True
        parts: list[str] = []
        after_unknown = False
        stop = size
        while stop > 0:
            start = came_from[stop]
            if is_unknown[stop] and after_unknown:
                parts[-1] = piece[start:stop] + parts[-1]
            else:
                parts.append(piece[start:stop])
            after_unknown = is_unknown[stop]
            stop = start
        return parts[::-1]

    def _expect_unknown_id(self, text: str) -> int:
        if self.unknown_id is None:
            raise TokenizerError(f"{shown(text)} is not in the vocabulary, which has no unknown token")
        return self.unknown_id


def read_unigram(fields: Fields) -> UnigramModel:
    """The model of a definition's field `model` of type Unigram. Raises: TokenizerError"""
    entries = fields.items("vocab")
    ids: dict[str, int] = {}
    scores: list[float] = []
    for index, entry in enumerate(entries):
        if not isinstance(entry, list) or len(entry) != 2 or not isinstance(entry[0], str):
            raise TokenizerError(f"{fields.where}.vocab[{index}] must be a token and its score; got {shown(entry)}")
        token, score = entry
        if type(score) not in (int, float):
            raise TokenizerError(f"{fields.where}.vocab[{index}]: the score must be a number; got {shown(score)}")
        if token in ids:
            raise TokenizerError(f"{fields.where}.vocab[{index}] repeats the token {shown(token)}")
        ids[token] = index
        scores.append(float(score))
    if not ids:
        raise TokenizerError(f"{fields.where}.vocab must hold at least one token; got none")
    unknown_id = fields.count("unk_id", None)
    if unknown_id is not None and unknown_id >= len(ids):
        raise fields.refusal("unk_id", f"in 0..{len(ids) - 1}", unknown_id)
    return UnigramModel(
        Vocabulary(ids, f"{fields.where}.vocab"), scores, unknown_id, fields.flag("byte_fallback", False)
    )
