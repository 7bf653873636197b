"""SentencePiece's compiled normalization (Kudo 2018, arXiv:1808.06226): a table from strings to strings in a trie.

The table is a base64 text of: the trie's size in bytes as uint32, the trie as a double array of uint32, and the
replacements, each ended by a zero byte. It is applied to each grapheme as a whole, if that is short, else to each of
its characters.
"""

from __future__ import annotations

import base64
import binascii
import struct
from collections.abc import Callable, Iterator

from tinygrad_llm.errors import TokenizerError
from tinygrad_llm.text.pipeline.aligned import retell
from tinygrad_llm.text.pipeline.fields import Fields

_SHORT = 6  # UTF-8 bytes; a grapheme as long as that is read character by character


def read_precompiled(fields: Fields) -> Callable[[str], str]:
    """The normalizer whose table is in the field `precompiled_charsmap`."""
    import regex

    table = _Table(fields.text("precompiled_charsmap"), fields.where)
    graphemes = regex.compile(r"\X")

    def parts(text: str) -> Iterator[tuple[int, str]]:
        for grapheme in graphemes.findall(str(text)):
            content = grapheme.encode()
            whole = table.replacement(content) if len(content) < _SHORT else None
            if whole is not None:
                yield len(grapheme), whole
                continue
            for character in grapheme:
                image = table.replacement(character.encode())
                yield 1, character if image is None else image

    return lambda text: retell(text, parts(text))


class _Table:
    """Raises: TokenizerError for a table that is damaged"""

    def __init__(self, encoded: str, where: str) -> None:
        try:
            content = base64.b64decode(encoded, validate=True)
        except (ValueError, binascii.Error) as error:
            raise TokenizerError(f"{where}: 'precompiled_charsmap' must be base64; {error}") from None
        size = struct.unpack("<I", content[:4])[0] if len(content) >= 4 else -1
        if size < 4 or size % 4 or 4 + size > len(content):
            raise TokenizerError(f"{where}: 'precompiled_charsmap' must hold a trie and its strings; it is cut short")
        self._units = struct.unpack(f"<{size // 4}I", content[4 : 4 + size])
        self._strings = content[4 + size :]
        self._known: dict[bytes, str | None] = {}
        try:
            self._strings.decode("utf-8")
        except UnicodeDecodeError as error:
            raise TokenizerError(f"{where}: the strings of 'precompiled_charsmap' must be UTF-8; {error}") from None

    def replacement(self, content: bytes) -> str | None:
        """The replacement of the shortest prefix of `content` that the trie holds, or None."""
        if content not in self._known:
            if len(self._known) > 100_000:
                self._known.clear()
            self._known[content] = self._find(content)
        return self._known[content]

    def _find(self, content: bytes) -> str | None:
        units = self._units
        node = _offset(units[0])
        for byte in content:
            if not byte:
                return None
            node ^= byte
            if node >= len(units) or units[node] & 0x800000FF != byte:
                return None
            has_leaf = units[node] >> 8 & 1
            node ^= _offset(units[node])
            if has_leaf and node < len(units):
                start = units[node] & 0x7FFFFFFF
                return self._strings[start : max(self._strings.find(b"\0", start), start)].decode("utf-8", "replace")
        return None


def _offset(unit: int) -> int:
    """Where the children of a node are, relative to it."""
    return unit >> 10 << ((unit & 1 << 9) >> 6)
