"""Added tokens: strings that are found in the text before it is split, each with its own id.

Those with `normalized` false are looked for in the text as it came, the others in the normalized text between them.
At one position, the longest is taken. `single_word` tokens must not touch a letter or digit; `lstrip` and `rstrip`
tokens take the whitespace beside them along.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from tinygrad_llm.errors import TokenizerError
from tinygrad_llm.formats.strict_json import shown
from tinygrad_llm.text.pipeline.aligned import is_whitespace
from tinygrad_llm.text.pipeline.fields import Fields
from tinygrad_llm.text.pipeline.patterns import Pattern
from tinygrad_llm.text.pipeline.unicode_tables import WORD
from tinygrad_llm.text.pipeline.vocabulary import Vocabulary, expect_token_id

_WORD_CHARACTER = Pattern(f"[{WORD}]", "a character of a word")


@dataclass(frozen=True)
class AddedToken:
    """One added token and its rules."""

    content: str
    id: int
    special: bool
    normalized: bool
    single_word: bool
    lstrip: bool
    rstrip: bool


def read_added_tokens(value: object, vocabulary: Vocabulary) -> list[AddedToken]:
    """The tokens of a definition's field `added_tokens`.

    Raises: TokenizerError for one whose id is not that of the vocabulary, or is another token's
    """
    if not isinstance(value, list):
        raise TokenizerError(f"added_tokens must be a list of objects; got {shown(value)}")
    tokens: dict[str, AddedToken] = {}
    taken: dict[int, str] = {}
    for index, item in enumerate(value):
        fields = Fields(item, f"added_tokens[{index}]")
        content = fields.text("content")
        number = expect_token_id(fields.raw("id"), content, fields.where)
        special = fields.flag("special", False)
        token = AddedToken(
            content,
            number,
            special,
            fields.flag("normalized", not special),
            fields.flag("single_word", False),
            fields.flag("lstrip", False),
            fields.flag("rstrip", False),
        )
        fields.expect_all_read()
        if not content or content in tokens:
            raise TokenizerError(f"{fields.where}: 'content' must be a string of its own; got {shown(content)}")
        if vocabulary.ids.get(content, number) != number:
            raise TokenizerError(
                f"{fields.where}: {shown(content)} has the id {number} here and {vocabulary.ids[content]} in the "
                "vocabulary"
            )
        other = taken.get(number, vocabulary.token_of.get(number, content))
        if other != content:
            raise TokenizerError(f"{fields.where}: the id {number} of {shown(content)} is that of {shown(other)}")
        tokens[content] = token
        taken[number] = content
    return list(tokens.values())


class AddedTokens:
    """Finds added tokens in a text: `split_raw` before normalization, `split_normalized` after it."""

    def __init__(self, tokens: Iterable[AddedToken], normalize: Callable[[str], str]) -> None:
        """`normalize` gives the form in which a `normalized` token is looked for."""
        ordered = sorted(tokens, key=lambda token: not token.special)
        self._raw = {token.content: token for token in reversed(ordered) if not token.normalized}
        self._normalized = {normalize(token.content): token for token in reversed(ordered) if token.normalized}
        if "" in self._normalized:
            raise TokenizerError(f"added_tokens: {shown(self._normalized[''].content)} is nothing when normalized")
        self._finders: dict[frozenset[str] | None, tuple[_Finder, _Finder]] = {}

    def finders(self, special: Collection[str] | None) -> tuple[_Finder, _Finder]:
        """The finder for the raw text and the one for the normalized text, with these special tokens (None: all)."""
        key = None if special is None else frozenset(special)
        if key not in self._finders:
            if len(self._finders) > 16:
                self._finders.clear()
            raw, normalized = (
                {
                    content: token
                    for content, token in tokens.items()
                    if key is None or not token.special or token.content in key
                }
                for tokens in (self._raw, self._normalized)
            )
            self._finders[key] = (_Finder(raw), _Finder(normalized))
        return self._finders[key]


class _Finder:
    """Splits a text at some added tokens."""

    def __init__(self, tokens: Mapping[str, AddedToken]) -> None:
        self._tokens = tokens
        self._pattern = re.compile(_pattern_of_longest(tokens)) if tokens else None

    def split(self, text: str) -> list[tuple[str, AddedToken | None]]:
        """The parts of `text`: text without a token and None, or the text of a token and the token."""
        if self._pattern is None or self._pattern.search(text) is None:
            return [(text, None)] if text else []
        parts: list[tuple[str, AddedToken | None]] = []
        last = 0
        # With whitespace taken along, a match may begin before `last`: that text is then read twice, as in the library.
        for start, stop, token in self._matches(text):
            if token.lstrip:
                while start > 0 and is_whitespace(text[start - 1]):
                    start -= 1
                start = max(start, last)
            if token.rstrip:
                while stop < len(text) and is_whitespace(text[stop]):
                    stop += 1
            if last < start:
                parts.append((text[last:start], None))
            if start < stop:
                parts.append((text[start:stop], token))
            last = stop
        if last < len(text):
            parts.append((text[last:], None))
        return parts

    def _matches(self, text: str) -> Iterator[tuple[int, int, AddedToken]]:
        if self._pattern is None:
            return
        for found in self._pattern.finditer(text):
            start, stop = found.span()
            token = self._tokens[found.group()]
            if token.single_word and (
                (start and _WORD_CHARACTER.findall(text[start - 1])) or _WORD_CHARACTER.findall(text[stop : stop + 1])
            ):
                continue
            yield start, stop, token


def _pattern_of_longest(strings: Iterable[str]) -> str:
    """A pattern that matches the longest of some strings: a trie, written as nested alternatives."""
    trie: dict[str, Any] = {}
    for string in strings:
        node = trie
        for character in string:
            node = node.setdefault(character, {})
        node[""] = {}  # a string ends here
    # Bottom up, for strings may be longer than Python's stack is deep.
    order = [trie]
    for node in order:
        order += [child for key, child in node.items() if key]
    written: dict[int, str] = {}
    for node in reversed(order):
        branches = [re.escape(key) + written[id(child)] for key, child in node.items() if key]
        if not branches:
            written[id(node)] = ""
        elif len(branches) == 1 and "" not in node:
            written[id(node)] = branches[0]
        else:
            written[id(node)] = f"(?:{'|'.join(branches)})" + ("?" if "" in node else "")
    return written[id(trie)]
