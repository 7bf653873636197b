"""A text that may be larger than memory: read in blocks, as often as it is needed, and never held whole."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from tinygrad_llm.data.files import AnyPath, expand_paths, read_blocks
from tinygrad_llm.errors import DataError

BETWEEN_FILES = "\n\n"
BLOCK = 1 << 20  # characters per block of a text that is in memory


@dataclasses.dataclass(frozen=True)
class Survey:
    """The size and sha256 of a text. Units: bytes as UTF-8."""

    characters: int
    bytes: int
    sha256: str


class LongText:
    """A text as blocks: each call of `read` starts again at its beginning. `name` is for messages.

    `notes` are remarks for the user about how the text was read.

    >>> text = LongText("a poem", lambda: iter(["Roses ", "are", " red"]))
    >>> text.survey.characters, "".join(text.blocks(6, 11))
    (13, 'are r')
    """

    def __init__(self, name: str, read: Callable[[], Iterator[str]], notes: Sequence[str] = ()) -> None:
        self.name, self._read, self.notes = name, read, tuple(notes)

    @classmethod
    def of_files(cls, data: AnyPath) -> LongText:
        """The files of `data` (see `expand_paths`), sorted by path, with a blank line between two.

        Among several files, empty ones are left out and counted in `notes`.

        Raises: DataError if there is no file
        """
        found = expand_paths(data)
        paths = [path for path in found if len(found) == 1 or path.stat().st_size] or found[:1]
        empty = len(found) - len(paths)
        notes = [f"{empty:,} empty file{'s' * (empty > 1)} left out of {len(found):,}"] if empty else []

        return cls(str(data), functools.partial(_read_files, paths), notes)

    @classmethod
    def of_string(cls, name: str, text: str) -> LongText:
        """A text that is in memory."""
        return cls(name, functools.partial(_blocks_of, text))

    @functools.cached_property
    def survey(self) -> Survey:
        """The length and sha256 of the text, for which it is read once.

        Raises: DataError if a file cannot be read or is not text, or if all of it is whitespace
        """
        characters = size = 0
        digest, blank = hashlib.sha256(), True
        for block in self._read():
            raw = block.encode("utf-8", "surrogatepass")
            digest.update(raw)
            characters, size = characters + len(block), size + len(raw)
            blank = blank and block.isspace()
        if blank:
            raise DataError(f"{self.name} must hold text to train on; it holds only white space")
        return Survey(characters, size, digest.hexdigest())

    def blocks(self, start: int = 0, stop: int | None = None) -> Iterator[str]:
        """The characters `start` to `stop` in blocks; those before `start` are read and skipped."""
        place = 0
        for block in self._read():
            if stop is not None and place >= stop:
                return
            begin = max(start - place, 0)
            if begin < len(block):
                yield block[begin : None if stop is None else stop - place]
            place += len(block)


def _read_files(paths: Sequence[Path]) -> Iterator[str]:
    for number, path in enumerate(paths):
        if number:
            yield BETWEEN_FILES
        yield from read_blocks(path)


def _blocks_of(text: str) -> Iterator[str]:
    return (text[start : start + BLOCK] for start in range(0, len(text), BLOCK))
