"""The second stage of a tokenizer: pre-tokenizers, which split the text into the pieces that no token crosses.

Each is one step: a text becomes a list of pieces. Steps work on str and on AlignedText alike. Their fields and effects
are those of Hugging Face's `tokenizers.pre_tokenizers`. Nearly all split at the matches of a pattern; a Behavior says
what becomes of a match.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from tinygrad_llm.text.pipeline.aligned import prepend, substitute
from tinygrad_llm.text.pipeline.byte_alphabet import as_bytes
from tinygrad_llm.text.pipeline.fields import Fields, read_stage, read_stages
from tinygrad_llm.text.pipeline.patterns import Pattern, read_pattern
from tinygrad_llm.text.pipeline.unicode_tables import NUMERIC, PUNCTUATION, WORD

# Part of a text: its start and end, and whether it is a match.
Part = tuple[int, int, bool]
Behavior = Callable[[list[Part]], list[tuple[int, int]]]
# (text, whether it begins the whole text) -> pieces
Step = Callable[[str, bool], list[str]]

GPT2_PATTERN = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
METASPACE = "▁"


def isolated(parts: list[Part]) -> list[tuple[int, int]]:
    """Each match is a piece, and so is each text between matches."""
    return [(start, stop) for start, stop, _ in parts]


def removed(parts: list[Part]) -> list[tuple[int, int]]:
    """Matches are dropped."""
    return [(start, stop) for start, stop, is_match in parts if not is_match]


def merged_with_previous(parts: list[Part]) -> list[tuple[int, int]]:
    """A match ends the piece before it, unless that ends in a match already."""
    pieces: list[tuple[int, int]] = []
    after_match = False
    for start, stop, is_match in parts:
        if is_match and not after_match and pieces:
            pieces[-1] = (pieces[-1][0], stop)
        else:
            pieces.append((start, stop))
        after_match = is_match
    return pieces


def merged_with_next(parts: list[Part]) -> list[tuple[int, int]]:
    """A match begins the piece after it, unless that begins with a match already."""
    pieces: list[tuple[int, int]] = []
    before_match = False
    for start, stop, is_match in reversed(parts):
        if is_match and not before_match and pieces:
            pieces[-1] = (start, pieces[-1][1])
        else:
            pieces.append((start, stop))
        before_match = is_match
    return pieces[::-1]


def contiguous(parts: list[Part]) -> list[tuple[int, int]]:
    """Matches that touch each other are one piece."""
    pieces: list[tuple[int, int]] = []
    after_match = False
    for start, stop, is_match in parts:
        if is_match == after_match and pieces:
            pieces[-1] = (pieces[-1][0], stop)
        else:
            pieces.append((start, stop))
        after_match = is_match
    return pieces


_BEHAVIORS: dict[str, Behavior] = {
    "Isolated": isolated,
    "Removed": removed,
    "MergedWithPrevious": merged_with_previous,
    "MergedWithNext": merged_with_next,
    "Contiguous": contiguous,
}


def split(text: str, matches: Iterable[tuple[int, int]], behavior: Behavior, invert: bool = False) -> list[str]:
    """The pieces of `text` between and at the matches; with `invert`, what lies between them are the matches."""
    parts: list[Part] = []
    last = 0
    for start, stop in matches:
        if last < start:
            parts.append((last, start, invert))
        parts.append((start, stop, not invert))
        last = stop
    if last < len(text):
        parts.append((last, len(text), invert))
    return [text[start:stop] for start, stop in behavior(parts) if start < stop]


def splitter(pattern: Pattern, behavior: Behavior, invert: bool = False) -> Step:
    """The step that splits at a pattern."""
    pieces_are_matches = behavior is isolated or (behavior is removed and invert)

    def step(text: str, first: bool) -> list[str]:
        if pieces_are_matches and type(text) is str:
            found = pattern.findall(text)  # the usual pattern matches every character
            if sum(map(len, found)) == len(text) or behavior is removed:
                return list(filter(None, found))
        return split(text, pattern.spans(text), behavior, invert)

    return step


def read_pre_tokenizer(value: object) -> list[Step]:
    """The steps of a definition's field, in their order; none for null.

    Raises: TokenizerError, naming what is not supported
    """
    return [] if value is None else _flat(read_stage(value, "pre_tokenizer", _KINDS))


class _Sequence(list[Step]):
    """Several steps: each splits the pieces of the one before."""

    def __call__(self, text: str, first: bool) -> list[str]:
        return split_in_steps(text, first, self)


def split_in_steps(text: str, first: bool, steps: Iterable[Step]) -> list[str]:
    """The pieces of `text` after all steps; `first` says whether it begins the whole text."""
    pieces = [text] if text else []
    for step in steps:
        if len(pieces) == 1:  # nearly always so in the first step
            pieces = step(pieces[0], first and text.startswith(pieces[0]))
        else:
            begins = first and bool(pieces) and text.startswith(pieces[0])
            pieces = [part for index, piece in enumerate(pieces) for part in step(piece, begins and not index)]
    return pieces


def _flat(step: Step) -> list[Step]:
    return list(step) if isinstance(step, _Sequence) else [step]


def to_bytes(text: str, first: bool) -> list[str]:
    """The last step of every byte-level tokenizer: bytes as printable characters."""
    return [as_bytes(text)]


def _read_byte_level(fields: Fields) -> Step:
    adds_space = fields.flag("add_prefix_space")
    uses_pattern = fields.flag("use_regex", True)
    fields.ignore("trim_offsets")  # concerns the post-processor only
    steps: list[Step] = []
    if adds_space:
        steps.append(lambda text, first: [text if text.startswith(" ") else prepend(" ", text)])
    if uses_pattern:
        steps.append(splitter(Pattern(GPT2_PATTERN, "GPT-2's pattern"), isolated))
    return _Sequence([*steps, to_bytes])


class Metaspace:
    """Spaces become a mark, which also begins the text (`scheme`: always, only the `first` piece, never)."""

    def __init__(self, mark: str, scheme: str, splits: bool) -> None:
        self.mark, self.scheme, self.splits = mark, scheme, splits
        self._spaces = Pattern(" ", "a space", " ")
        self._marks = Pattern(f"\\x{{{ord(mark):X}}}", "the mark of a space")

    def __call__(self, text: str, first: bool) -> list[str]:
        if type(text) is str:
            text = text.replace(" ", self.mark)
        else:
            text = substitute(text, self._spaces.spans(text), self.mark)
        if (self.scheme == "always" or (self.scheme == "first" and first)) and not text.startswith(self.mark):
            text = prepend(self.mark, text)
        return split(text, self._marks.spans(text), merged_with_next) if self.splits else [text]


def _read_metaspace(fields: Fields) -> Step:
    mark = fields.character("replacement")
    old = fields.flag("add_prefix_space", None)
    fields.ignore("str_rep")
    scheme = fields.choice("prepend_scheme", _SCHEMES, "never" if old is False else "always")
    if old is False and scheme != "never":
        raise fields.refusal("prepend_scheme", "'never' beside add_prefix_space false", scheme)
    return Metaspace(mark, scheme, fields.flag("split", True))


_SCHEMES = {"always": "always", "first": "first", "never": "never"}


def _read_split(fields: Fields) -> Step:
    return splitter(read_pattern(fields), fields.choice("behavior", _BEHAVIORS), fields.flag("invert"))


def _read_digits(fields: Fields) -> Step:
    return splitter(_NUMBERS, isolated if fields.flag("individual_digits") else contiguous)


def _read_delimiter(fields: Fields) -> Step:
    delimiter = fields.character("delimiter")
    return splitter(Pattern(f"\\x{{{ord(delimiter):X}}}", fields.where), removed)


def _read_fixed_length(fields: Fields) -> Step:
    length = fields.count("length", 5)
    if not length:
        raise fields.refusal("length", "at least 1", length)
    return lambda text, first: [text[start : start + length] for start in range(0, len(text), length)]


_NUMBERS = Pattern(f"[{NUMERIC}]", "digits", knows_all=True)
_PUNCTUATION = Pattern(f"[{PUNCTUATION}]", "punctuation", knows_all=True)
_WHITESPACE = Pattern(r"\s", "whitespace")
_split_at_whitespace = splitter(_WHITESPACE, removed)
_split_words = splitter(Pattern(f"[{WORD}]+|[^{WORD}\\s]+", "words"), removed, invert=True)
_isolate_punctuation = splitter(_PUNCTUATION, isolated)

_KINDS: dict[str, Callable[[Fields], Any]] = {
    "Sequence": lambda fields: _Sequence(read_stages(fields, "pretokenizers", _KINDS, _flat)),
    "ByteLevel": _read_byte_level,
    "Split": _read_split,
    "Metaspace": _read_metaspace,
    "Digits": _read_digits,
    "Punctuation": lambda fields: splitter(_PUNCTUATION, fields.choice("behavior", _BEHAVIORS, "Isolated")),
    "Whitespace": lambda fields: _split_words,
    "WhitespaceSplit": lambda fields: _split_at_whitespace,
    "BertPreTokenizer": lambda fields: _Sequence([_split_at_whitespace, _isolate_punctuation]),
    "CharDelimiterSplit": _read_delimiter,
    "FixedLength": _read_fixed_length,
}
