"""Patterns of a tokenizer's definition, which are written for Oniguruma in Ruby's syntax, for Python's `regex`.

What the two write differently is rewritten: `^` and `$` are the ends of a line, `(?m)` lets the dot match a line break,
`{1,3}+` repeats a repetition, `\\h` is a hexadecimal digit. What Python lacks, or where a guess would be needed (back
references, unknown escapes), is refused by name.

Properties such as `\\p{L}` are those of Unicode 16. Python's `regex` knows newer characters; a Pattern reads these as
unassigned ones.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator
from typing import TYPE_CHECKING

from tinygrad_llm.errors import TokenizerError
from tinygrad_llm.formats.strict_json import shown
from tinygrad_llm.text.pipeline.fields import Fields
from tinygrad_llm.text.pipeline.unicode_tables import NEWER

if TYPE_CHECKING:
    import regex

# A letter of Unicode 16 that is in another class since, and what is used in its place; and one that is in no class.
_MOVED, _LIKE_MOVED, _UNASSIGNED = "\u0295", "\u0250", "\u0378"
_RESTATED = re.compile(f"[{NEWER}{_MOVED}]")
_LONGEST = 20_000  # characters of a pattern

# \w alone takes the superscripts and fractions of Latin-1 along; in a class it does not.
_WORD_IN_CLASS = r"\p{Alphabetic}\p{M}\p{Nd}\p{Pc}"
_WORD = _WORD_IN_CLASS + r"\xB2\xB3\xB9\xBC-\xBE"
_ESCAPES = {  # one letter after a backslash, outside of a class
    **{letter: f"\\{letter}" for letter in "dDsSbBAX"},
    "n": r"\n",
    "r": r"\r",
    "t": r"\t",
    "f": r"\f",
    "v": r"\x0B",
    "a": r"\x07",
    "e": r"\x1B",
    "w": f"[{_WORD}]",
    "W": f"[^{_WORD}]",
    "h": "[0-9a-fA-F]",
    "H": "[^0-9a-fA-F]",
    "z": r"\Z",
    "Z": r"(?=\n?\Z)",
    "R": r"(?>\r\n|[\n-\r\x85\u2028\u2029])",
}
_ONLY_OUTSIDE = "bBAXzZR"
_IN_CLASS = {"w": f"[{_WORD_IN_CLASS}]", "W": f"[^{_WORD_IN_CLASS}]"}
_CODE = re.compile(r"\\(?:x\{([0-9A-Fa-f]{1,6})\}|x([0-9A-Fa-f]{2})|u([0-9A-Fa-f]{4}))")
_PROPERTY = re.compile(r"\\[pP]\{\^?[A-Za-z0-9_ =-]+\}")
_GROUP = re.compile(r"\(\?(?:[:=!>]|<[=!]|<[A-Za-z_]\w*>|[im]*(?:-[im]+)?[:)])")
_REPEAT = re.compile(r"(?:[*+?]|\{[0-9]+(?:,[0-9]*)?\}|\{,[0-9]+\})[?+]?")
_POSIX = re.compile(r"\[:(\^?)([a-z]+):\]")
_POSIX_MEMBERS = {
    "alpha": r"\p{Alphabetic}",
    "alnum": r"\p{Alphabetic}\p{Nd}",
    "word": _WORD_IN_CLASS,
    "space": r"\s",
    "upper": r"\p{Uppercase}",
    "lower": r"\p{Lowercase}",
    "punct": r"\p{P}\p{S}",
    "digit": r"\p{Nd}",
    "xdigit": "0-9a-fA-F",
    "cntrl": r"\p{Cc}",
    "blank": r"\p{Zs}\t",
}


class Pattern:
    """A compiled pattern of a definition.

    Raises: TokenizerError, naming the place, for one that is not understood
    """

    def __init__(self, source: str, where: str, literal: str | None = None, knows_all: bool = False) -> None:
        """`literal` is the string that the pattern matches, if it matches one string only. A pattern that `knows_all`
        characters lists them itself.
        """
        self.source, self.literal, self._knows_all = source, literal, knows_all
        self._compiled = _compile(source, where)

    def findall(self, text: str) -> list[str]:
        """The matches that are not empty, as `regex.findall`."""
        if not self._knows_all and not text.isascii() and _RESTATED.search(text):
            return [text[start:stop] for start, stop in self.spans(text) if start < stop]
        return self._compiled.findall(text)

    def spans(self, text: str) -> Iterator[tuple[int, int]]:
        """The start and end of each match; an empty match is left out directly after another one."""
        restated = text if self._knows_all or text.isascii() else _RESTATED.sub(_restate, text)
        last, at = -1, 0
        while at <= len(restated) and (found := self._compiled.search(restated, at)):
            start, at = found.span()
            if start == at == last:
                at += 1
                continue
            yield start, at
            last = at


def _restate(match: re.Match[str]) -> str:
    return _LIKE_MOVED if match.group() == _MOVED else _UNASSIGNED


def read_pattern(fields: Fields, name: str = "pattern") -> Pattern:
    """The pattern of a field {"String": text} or {"Regex": pattern}."""
    inner = Fields(fields.raw(name), f"{fields.where}.{name}")
    literal, source = inner.text("String", None), inner.text("Regex", None)
    inner.expect_all_read()
    if (literal is None) == (source is None):
        raise TokenizerError(f"{inner.where} must have either 'String' or 'Regex'")
    return Pattern(source if literal is None else re.escape(literal), inner.where, literal)


@functools.lru_cache(maxsize=256)
def _compile(source: str, where: str) -> regex.Pattern[str]:
    import regex

    if len(source) > _LONGEST:
        raise TokenizerError(f"{where}: a pattern may have {_LONGEST} characters; this one has {len(source)}")
    try:
        return regex.compile(_Translation(source).result, regex.V1)
    except (regex.error, ValueError, OverflowError, RecursionError) as error:
        raise TokenizerError(f"{where}: the pattern {shown(source)} is not supported: {error}") from None


class _Translation:
    """One pass over a pattern. Raises: ValueError for what is not understood"""

    def __init__(self, source: str) -> None:
        self.source, self.at = source, 0
        parts: list[str] = []  # of the result
        atom = 0  # where in `parts` the last thing begins that a repetition would repeat
        groups: list[int] = []
        while self.at < len(source):
            if found := _REPEAT.match(source, self.at):
                self.at = found.end()
                parts[atom:] = [_repeated("".join(parts[atom:]), found.group())]
                continue
            character = source[self.at]
            if character == "(":
                groups.append(len(parts))
                opening = self._group()
                if opening.endswith(")"):
                    groups.pop()
                parts.append(opening)
            elif character == ")" and groups:
                self.at += 1
                parts.append(")")
                atom = groups.pop()
            else:
                atom = len(parts)
                parts.append(self._one())
        self.result = "".join(parts)

    def _group(self) -> str:
        """The opening of a group, as one that captures nothing; or flags for what follows."""
        if self.source[self.at + 1 : self.at + 2] != "?":
            self.at += 1
            return "(?:"
        found = _GROUP.match(self.source, self.at)
        if found is None:
            raise ValueError(f"the group {self.source[self.at : self.at + 4]!r} is not known here")
        self.at = found.end()
        opening = found.group()
        if opening.startswith("(?<") and opening[3] not in "=!":
            return "(?:"
        return opening.replace("m", "s")  # Ruby's multi-line mode concerns the dot

    def _one(self) -> str:
        """One character, escape or class."""
        character = self.source[self.at]
        if character == "[":
            return self._character_class()
        if character == "\\":
            return self._escape(inside=False)
        self.at += 1
        if character == "^":
            return r"(?:\A|(?<=\n)(?!\Z))"
        if character == "$":
            return r"(?=\n|\Z)"
        return character if character in ".|" else re.escape(character)

    def _escape(self, inside: bool) -> str:
        code = _CODE.match(self.source, self.at)
        if code:
            self.at = code.end()
            value = int(next(digits for digits in code.groups() if digits), 16)
            if value > 0x10FFFF or (code.group(2) and value > 0x7F):
                raise ValueError(f"{code.group()} is no character")
            return f"\\U{value:08X}"
        named = _PROPERTY.match(self.source, self.at)
        if named:
            self.at = named.end()
            return named.group()
        letter = self.source[self.at + 1 : self.at + 2]
        self.at += 2
        if inside and letter in _IN_CLASS:
            return _IN_CLASS[letter]
        if letter in _ESCAPES and not (inside and letter in _ONLY_OUTSIDE):
            return _ESCAPES[letter]
        if not letter or (letter.isascii() and letter.isalnum()):
            raise ValueError(f"the escape \\{letter} is not known here")
        return re.escape(letter)

    def _character_class(self) -> str:
        """A class, with the classes inside it; every literal is escaped, for `regex` has more operators."""
        self.at += 1
        result = "["
        if self.source.startswith("^", self.at):
            self.at += 1
            result += "^"
        begin = self.at
        while True:
            if self.at >= len(self.source):
                raise ValueError("a character class has no end")
            character = self.source[self.at]
            if character == "]":
                if self.at == begin:
                    raise ValueError("a character class is empty")
                self.at += 1
                return result + "]"
            if posix := _POSIX.match(self.source, self.at):
                self.at = posix.end()
                negation, name = posix.groups()
                if name not in _POSIX_MEMBERS:
                    raise ValueError(f"the class {posix.group()} is not known here")
                result += f"[{negation}{_POSIX_MEMBERS[name]}]"
            elif character == "[":
                result += self._character_class()
            elif self.source.startswith("&&", self.at):
                self.at += 2
                result += "&&"
            elif character == "\\":
                result += self._escape(inside=True)
            elif character == "-" and self.at > begin and self.source[self.at + 1 : self.at + 2] not in ("]", ""):
                self.at += 1
                result += "-"  # of a range
            else:
                self.at += 1
                result += re.escape(character) if character.isascii() and not character.isalnum() else character


def _repeated(atom: str, repeat: str) -> str:
    """A thing with its repetition; after braces, Ruby reads + as another repetition, and ? after one number as well."""
    if not atom:
        raise ValueError(f"nothing stands before {repeat}")
    if repeat.endswith("+") and repeat.startswith("{"):
        return f"(?:{atom}{repeat[:-1]})+"
    if repeat.endswith("?") and repeat.startswith("{") and "," not in repeat:
        return f"(?:{atom}{repeat[:-1]})?"
    return atom + repeat
