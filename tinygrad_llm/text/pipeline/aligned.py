"""Text that knows where each of its characters came from.

A normalizer changes a text, and a token's offsets must point into the text as it was. `AlignedText` is a str with a
span per character: the start and end, in the original, of the character that it stands for. Slices keep their spans.
The functions below work on a plain str too, where they cost no more than str's own methods: each stage is written
once, for ids (str) and for offsets (AlignedText).

A character that is inserted has the span of the character before it; one that replaces several has that of the last
one (`substitute`) or the first one (`recompose`), as in Hugging Face's tokenizers.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Mapping
from typing import Any, Literal

Span = tuple[int, int]
Form = Literal["NFC", "NFD", "NFKC", "NFKD"]


class AlignedText(str):
    """A str with the span of each character in the original text."""

    spans: list[Span]

    def __new__(cls, text: str, spans: list[Span]) -> AlignedText:
        """`spans` has one (start, end) per character of `text`."""
        self = super().__new__(cls, text)
        self.spans = spans
        return self

    @classmethod
    def of(cls, text: str, start: int = 0) -> AlignedText:
        """A text that nothing has changed yet, which begins at `start` of the original."""
        return cls(text, [(at, at + 1) for at in range(start, start + len(text))])

    def __getitem__(self, key: Any) -> str:
        """A slice with its spans; an index gives a plain character."""
        part = super().__getitem__(key)
        return AlignedText(part, self.spans[key]) if isinstance(key, slice) else part


def spans_of(text: str) -> list[Span]:
    """The spans of an AlignedText; none of a plain str."""
    return text.spans if isinstance(text, AlignedText) else []


def prepend(prefix: str, text: str) -> str:
    """`prefix` before a text that is not empty; its characters have the span of the first one."""
    if isinstance(text, AlignedText):
        return AlignedText(prefix + str(text), [text.spans[0]] * len(prefix) + text.spans) if text else text
    return prefix + text if text else text


def substitute(text: str, matches: Iterable[tuple[int, int]], content: str) -> str:
    """The text with `content` in place of each match (start, stop)."""
    parts: list[str] = []
    spans: list[Span] = []
    aligned = text.spans if isinstance(text, AlignedText) else None
    last = 0
    for start, stop in matches:
        parts += (str.__getitem__(text, slice(last, start)), content)
        if aligned is not None:
            spans += aligned[last:start]
            spans += [aligned[stop - 1] if stop else _start(aligned)] * len(content)
        last = stop
    parts.append(str.__getitem__(text, slice(last, None)))
    changed = "".join(parts)
    return AlignedText(changed, spans + aligned[last:]) if aligned is not None else changed


def translate(text: str, table: Mapping[int, str]) -> str:
    """`str.translate`: each character becomes the string that `table` has for its code, possibly an empty one."""
    if not isinstance(text, AlignedText):
        return text.translate(table)
    images = [character.translate(table) for character in text]
    return AlignedText("".join(images), [span for image, span in zip(images, text.spans, strict=True) for _ in image])


def retell(text: str, parts: Iterable[tuple[int, str]]) -> str:
    """The text made of `parts`: each string takes the place of the next so many characters.

    Spans are those of the library, which counts for each new character how many it takes the place of: 1, or 0 for
    what a longer string adds; of a shorter one, the character before takes the place of all that is left over.
    """
    if not isinstance(text, AlignedText):
        return "".join([new for _, new in parts])
    characters: list[str] = []
    replaced: list[int] = []
    for count, new in parts:
        characters += new
        replaced += [1] * min(count, len(new)) + [0] * (len(new) - count)
        if len(new) < count and replaced:
            replaced[-1] += count - len(new)
    return _told(text, list(zip(characters, replaced, strict=True)))


def strip(text: str, left: bool, right: bool) -> str:
    """The text without whitespace at its ends, by Unicode's White_Space."""
    start = 0
    stop = len(text)
    while left and start < stop and is_whitespace(text[start]):
        start += 1
    while right and stop > start and is_whitespace(text[stop - 1]):
        stop -= 1
    return text[start:stop]


def is_whitespace(character: str) -> bool:
    """Whether a character has Unicode's White_Space; Python adds four control characters to these."""
    return character.isspace() and not "\x1c" <= character <= "\x1f"


def normalize(text: str, form: Form, untouched: re.Pattern[str]) -> str:
    """`unicodedata.normalize`, but for what `untouched` matches, because the tables of tokenizers are older."""
    if text.isascii():
        return text
    if untouched.search(text) is None:
        return _recompose(text, form) if isinstance(text, AlignedText) else unicodedata.normalize(form, text)
    pieces: list[str] = []
    last = 0
    for match in untouched.finditer(text):
        pieces += (normalize(text[last : match.start()], form, untouched), text[match.start() : match.end()])
        last = match.end()
    return joined([*pieces, normalize(text[last:], form, untouched)])


def joined(pieces: list[str]) -> str:
    """The pieces as one text; AlignedText if all are."""
    text = "".join(pieces)
    aligned = [piece for piece in pieces if isinstance(piece, AlignedText)]
    return AlignedText(text, [span for piece in aligned for span in piece.spans]) if aligned else text


def _recompose(text: AlignedText, form: Form) -> AlignedText:
    """Unicode normalization with spans: decompose, order the marks, compose (Unicode Standard Annex 15).

    A run is changed as a whole: from a character that no earlier one can combine with, to the next one.
    """
    decomposed_form: Form = "NFD" if form in ("NFC", "NFD") else "NFKD"
    parts: list[tuple[str, int]] = []  # each character, and how many of the text's it takes the place of
    for character in text:
        parts += [
            (part, 1 - min(index, 1)) for index, part in enumerate(unicodedata.normalize(decomposed_form, character))
        ]
    start = 0
    for at in range(len(parts) + 1):  # marks in the order of their classes, between characters of class 0
        if at == len(parts) or not unicodedata.combining(parts[at][0]):
            if at - start > 1:
                parts[start:at] = sorted(parts[start:at], key=lambda part: unicodedata.combining(part[0]))
            start = at + 1
    return _told(text, parts if form in ("NFD", "NFKD") else _composed(parts))


def _composed(parts: list[tuple[str, int]]) -> list[tuple[str, int]]:
    """Each starter joined with the marks after it that it has a composition with, unless a mark between blocks it."""
    composed: list[tuple[str, int]] = []
    starter, last_class = -1, 0
    for character, count in parts:
        combining = unicodedata.combining(character)
        if starter >= 0 and (last_class < combining or starter == len(composed) - 1):
            both = unicodedata.normalize("NFC", composed[starter][0] + character)
            if len(both) == 1:
                composed[starter] = (both, composed[starter][1] + count)
                continue
        if not combining:
            starter = len(composed)
        last_class = combining
        composed.append((character, count))
    return composed


def _told(text: AlignedText, parts: list[tuple[str, int]]) -> AlignedText:
    """The characters of `parts`, each with the span of the first of those that it takes the place of."""
    spans: list[Span] = []
    at = 0
    for _, count in parts:
        spans.append(text.spans[at] if count else text.spans[at - 1] if at else _start(text.spans))
        at += count
    return AlignedText("".join([character for character, _ in parts]), spans)


def _start(spans: list[Span]) -> Span:
    """The empty span at the beginning of a text."""
    return (spans[0][0], spans[0][0]) if spans else (0, 0)
