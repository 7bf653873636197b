"""A text that may be longer than the memory: read in blocks, as often as it is needed, and never held whole."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
from collections.abc import Callable, Iterator

from tinygrad_llm.data.files import AnyPath, expand_paths, read_blocks
from tinygrad_llm.errors import DataError

BETWEEN_FILES = "\n\n"
BLOCK = 1 << 20  # characters of a text in memory that are given out at a time


@dataclasses.dataclass(frozen=True)
class Survey:
    """What one reading of a text tells. Units: bytes as UTF-8."""

    characters: int
    bytes: int
    sha256: str


class LongText:
    """One text out of blocks, which `read` gives from the beginning whenever it is called; `name` is for messages.

    >>> text = LongText("a poem", lambda: iter(["Roses ", "are", " red"]))
    >>> text.survey.characters, "".join(text.blocks(6, 11))
    (13, 'are r')
    """

    def __init__(self, name: str, read: Callable[[], Iterator[str]]) -> None:
        self.name, self._read = name, read

    @classmethod
    def of_files(cls, data: AnyPath) -> LongText:
        """The files meant by `data` (see `expand_paths`), in the order of their paths, a blank line between two.

        Raises: DataError if there is no file
        """
        paths = expand_paths(data)

        def read() -> Iterator[str]:
            for number, path in enumerate(paths):
                if number:
                    yield BETWEEN_FILES
                yield from read_blocks(path)

        return cls(str(data), read)

    @classmethod
    def of_string(cls, name: str, text: str) -> LongText:
        """A text that is in memory anyway."""
        return cls(name, lambda: (text[start : start + BLOCK] for start in range(0, len(text), BLOCK)))

    @functools.cached_property
    def survey(self) -> Survey:
        """Its length and sha256, from reading it once.

        Raises: DataError where a file cannot be read or is not UTF-8, or all of it is white space
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
        """The characters `start` to `stop` in blocks; what lies before is read, too, and passed over."""
        place = 0
        for block in self._read():
            if stop is not None and place >= stop:
                return
            begin = max(start - place, 0)
            if begin < len(block):
                yield block[begin : None if stop is None else stop - place]
            place += len(block)
