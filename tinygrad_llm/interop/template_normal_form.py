"""The normal form of a jinja2 template: two templates that differ only in their layout have the same.

Models carry one template in many layouts: on one line or indented, with 'quotes' or "quotes", `message.role` or
`message['role']`. The normal form applies what jinja2 itself does to white space (with `trim_blocks` and
`lstrip_blocks`, as transformers sets them) and writes every tag in one way, so that its meaning does not change.
"""

from __future__ import annotations

import contextlib
import hashlib
import re
import warnings

QUOTES = "'\""
STRING = r"'(?:[^'\\]|\\.)*'|\"(?:[^\"\\]|\\.)*\""
INSIDE = rf"(?:{STRING}|[^'\"])*?"
TAG = re.compile(rf"\{{#.*?#\}}|\{{%{INSIDE}%\}}|\{{\{{{INSIDE}\}}\}}", re.DOTALL)
TOKEN = re.compile(rf"{STRING}|\w+|[^\w\s]", re.DOTALL)
ATTRIBUTES = ("role", "content")  # that no method of a dict hides
TIGHTER = {"|", ".", "[", "(", "*", "%", "/", "-"}  # a sum beside one of these is not a sum of its own


def digest(source: str) -> str:
    """A short hash of the normal form; of the source itself where that has none."""
    with contextlib.suppress(ValueError):
        source = normal_form(source)
    return hashlib.sha256(source.encode("utf-8", "surrogatepass")).hexdigest()[:16]


def normal_form(source: str) -> str:
    """The template in its one layout.

    >>> normal_form('{%- if a %}\\n  {{- "x" + b.role }}\\n{%- endif %}')
    "{% if a %}{{ 'x' + b [ 'role' ] }}{% endif %}"
    """
    source = source.replace("\r\n", "\n").removesuffix("\n")
    parts: list[str] = []
    end, after = 0, ""  # of the tag before
    for found in TAG.finditer(source):
        tag = found.group()
        text = _without_margins(source[end : found.start()], after, tag)
        parts += [text] if text else []
        parts += [] if tag.startswith("{#") else [_tag(tag)]
        end, after = found.end(), tag
    return "".join([*parts, _without_margins(source[end:], after, "")])


def _without_margins(text: str, before: str, after: str) -> str:
    """The text between two tags without the white space that they remove."""
    is_whole_line = not before  # whether the text begins a line
    if before.endswith(("-}}", "-%}", "-#}")):
        text = text.lstrip()
    elif before and not before.endswith("}}") and text.startswith("\n"):
        text, is_whole_line = text[1:], True
    if after[2:3] == "-":
        return text.rstrip()
    if after and not after.startswith("{{") and after[2:3] != "+":
        line = text.rfind("\n") + 1
        if (line or is_whole_line) and not text[line:].strip():
            text = text[:line]
    return text


def _tag(tag: str) -> str:
    """A tag with one space between its tokens, texts as Python writes them, and sums of texts added."""
    tokens: list[str] = []
    for token in TOKEN.findall(tag[2:-2].removeprefix("-").removeprefix("+").removesuffix("-")):
        if token in ATTRIBUTES and tokens[-1:] == ["."]:
            tokens[-1:] = ["[", repr(token), "]"]
        else:
            tokens.append(repr(_value(token)) if token[0] in QUOTES else token)
    place = 0
    while place + 2 < len(tokens):
        first, sign, second = tokens[place : place + 3]
        around = {*tokens[max(place - 1, 0) : place], *tokens[place + 3 : place + 4]}
        if first[0] in QUOTES and sign == "+" and second[0] in QUOTES and not around & TIGHTER:
            tokens[place : place + 3] = [repr(_value(first) + _value(second))]
        else:
            place += 1
    return f"{tag[:2]} {' '.join(tokens)} {tag[-2:]}"


def _value(literal: str) -> str:
    """The text of a string in a template, whose escapes are Python's. Raises: ValueError for an escape that is none"""
    with warnings.catch_warnings(action="ignore"):  # for "\\d", which stays as it is
        return literal[1:-1].encode("ascii", "backslashreplace").decode("unicode-escape")
