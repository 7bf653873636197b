"""The ids of pieces of text that were encoded before: most pieces of a text come again."""

from __future__ import annotations

from collections.abc import Callable

_MOST_PIECES = 500_000  # pieces whose ids are kept
_LONGEST_PIECE = 256  # characters of a piece whose ids are kept


class PieceIds(dict[str, list[int]]):
    """The ids of each piece, computed when they are first asked for."""

    def __init__(self, ids_of: Callable[[str], list[int]]) -> None:
        super().__init__()
        self._ids_of = ids_of

    def __missing__(self, piece: str) -> list[int]:
        ids = self._ids_of(piece)
        if len(piece) <= _LONGEST_PIECE:
            if len(self) >= _MOST_PIECES:
                self.clear()
            self[piece] = ids
        return ids
