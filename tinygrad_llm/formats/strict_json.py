"""Strict JSON: a text that is accepted has one meaning, and a text that is written can be read everywhere.

Python's `json` is lenient where RFC 8259 leaves room: of two equal keys the last wins, `NaN` and `Infinity` are
accepted, `1e999` becomes infinity, `"\\ud800"` becomes a string that no file can hold, and a long number or deep
nesting ends in another exception. A reader of checkpoints should not guess, so all of these are a `FormatError` here.

There are two parsers. The fast one is Python's own, with hooks that raise, but a hook does not know its position in
the text. So after an error `find_fault` scans the text again, slowly, to find the position.
"""

import json
import math
import os
import re
import reprlib
from json.decoder import scanstring  # type: ignore[attr-defined]  # there since Python 3.0, but not in the stubs
from typing import Any, NoReturn

from tinygrad_llm.errors import FormatError
from tinygrad_llm.formats.atomic import atomic_write
from tinygrad_llm.formats.regular_file import open_regular

MAX_DEPTH = 64  # nesting of lists and objects; configs and tokenizers need about ten
MAX_DIGITS = 400  # per number; the largest float64 has 309. Parsing digits takes quadratic time
LONG_NUMBER = re.compile(rf"(?<![0-9])[0-9]{{{MAX_DIGITS + 1}}}")
SURROGATE_ESCAPE = re.compile(r"\\u[dD][89a-fA-F]")
LONE_SURROGATE = re.compile("[\ud800-\udfff]")
TOKEN = re.compile(r'["{}\[\]]|-?(?:[0-9][0-9.eE+-]*|Infinity)|NaN')
SHORT_REPR = reprlib.Repr()
SHORT_REPR.maxstring = SHORT_REPR.maxother = 80
COLON = re.compile(r"[ \t\n\r]*:")


class _Refused(Exception):
    """Raised inside `json.loads` by the hooks below; never leaves this file."""


def parse_json(data: bytes, source: str, max_depth: int = MAX_DEPTH, first_line: int = 1) -> Any:
    """The value of a JSON text (RFC 8259) in UTF-8; `source` is its name in errors.

    `first_line` is the number of its first line, if the text is a part of a file.

    Time and memory grow linearly with the text.

    >>> parse_json(b'{"a": [1, 2.5, null]}', "config.json")
    {'a': [1, 2.5, None]}
    >>> parse_json(b'{"a": 1, "a": 2}', "config.json")
    Traceback (most recent call last):
    tinygrad_llm.errors.FormatError: config.json: line 1, column 10: key 'a' appears twice in one object; remove one

    Raises: FormatError, with line and column (in characters, from 1), for anything that is not JSON, for equal keys,
            numbers that are not finite or have over 400 digits, lone surrogates, and nesting beyond `max_depth`
    """

    def refuse(text: str, at: int, what: str) -> NoReturn:
        line, column = first_line + text.count("\n", 0, at), at - text.rfind("\n", 0, at)
        raise FormatError(f"{source}: line {line}, column {column}: {what}")

    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as problem:
        before = data[: problem.start].decode("utf-8")
        refuse(before, len(before), f"must be UTF-8; byte 0x{data[problem.start]:02x} is not")
    if text.startswith("\ufeff"):
        refuse(text, 0, "JSON has no byte order mark; save the file as UTF-8 without BOM")
    try:
        if LONG_NUMBER.search(text) or SURROGATE_ESCAPE.search(text):
            # Most likely digits within a string, or half of a valid pair: only the slow scan can decide.
            fault = find_fault(text, max_depth)
            if fault:
                refuse(text, *fault)
        value = json.loads(
            text, object_pairs_hook=_object_of_distinct_keys, parse_constant=_refuse_constant, parse_float=_finite_float
        )
        if _depth(value, max_depth) > max_depth:
            raise _Refused
    except json.JSONDecodeError as problem:
        refuse(text, problem.pos, f"is not JSON: {problem.msg}")
    except (_Refused, RecursionError):
        fault = find_fault(text, max_depth)
    else:
        return value
    if fault:
        refuse(text, *fault)
    raise FormatError(
        f"{source}: nested too deeply for the rest of Python's stack; call it with fewer frames on the stack"
    )


def read_json(path: str | os.PathLike[str], max_depth: int = MAX_DEPTH) -> Any:
    """The value in a JSON file. Raises: FormatError, naming file, line and column, as `parse_json` does."""
    with open_regular(path) as file:
        return parse_json(file.read(), os.fspath(path), max_depth)


def read_json_object(path: str | os.PathLike[str]) -> dict[str, Any]:
    """The object in a JSON file. Raises: FormatError for another value, naming the file and the position."""
    value = read_json(path)
    if not isinstance(value, dict):
        raise FormatError(f"{os.fspath(path)}: must hold one JSON object; got {type(value).__name__}")
    return value


def read_optional_json_object(path: str | os.PathLike[str]) -> dict[str, Any]:
    """The object in a JSON file, an empty one if there is no such file. Raises: FormatError, as `read_json_object`."""
    return read_json_object(path) if os.path.lexists(path) else {}


def json_bytes(value: Any, source: str = "value", indent: int | None = 2) -> bytes:
    """`value` as JSON text in UTF-8, keys in their order, so that `parse_json` returns it (tuples as lists).

    Raises: FormatError for what JSON cannot hold: NaN, keys that are not strings, arrays, surrogates, deep nesting
    """
    if _depth(value, MAX_DEPTH, string_keys_for=source) > MAX_DEPTH:
        raise FormatError(f"{source}: JSON written here nests at most {MAX_DEPTH} deep; this is deeper or circular")
    separators = (",", ":") if indent is None else (",", ": ")
    try:
        text = json.dumps(value, ensure_ascii=False, allow_nan=False, indent=indent, separators=separators)
        data = text.encode("utf-8") + b"\n"
    except UnicodeEncodeError as problem:
        raise FormatError(f"{source}: a lone surrogate cannot be written as UTF-8; clean the text first") from problem
    except (TypeError, ValueError, RecursionError) as problem:
        raise FormatError(f"{source}: JSON cannot hold this: {problem}; give plain, finite Python values") from problem
    parse_json(data, source)  # never write what cannot be read back
    return data


def write_json(path: str | os.PathLike[str], value: Any, indent: int | None = 2) -> None:
    """Write `value` as a JSON file, atomically.

    Raises: FormatError for what JSON cannot hold, CheckpointError if the file cannot be written
    """
    data = json_bytes(value, os.fspath(path), indent)
    with atomic_write(path) as file:
        file.write(data)


def shown(value: object) -> str:
    """`repr` with at most a few dozen characters per part, so that a hostile value cannot fill screen or memory."""
    return SHORT_REPR.repr(value)


def find_fault(text: str, max_depth: int) -> tuple[int, str] | None:
    """The position of the first fault that Python's `json` accepts and this parser refuses, and its description."""
    open_objects: list[set[str] | None] = []  # the keys seen so far in each open object; None for a list
    at = 0
    while found := TOKEN.search(text, at):
        start, at = found.span()
        token = found.group()
        if token == '"':
            try:
                string, at = scanstring(text, at, True)
            except json.JSONDecodeError as problem:
                return problem.pos, f"is not JSON: {problem.msg}"
            if LONE_SURROGATE.search(string):
                return start, "a string has a lone surrogate; write the pair or the character"
            if open_objects and open_objects[-1] is not None and COLON.match(text, at):
                if string in open_objects[-1]:
                    return start, f"key {shown(string)} appears twice in one object; remove one"
                open_objects[-1].add(string)
        elif token in "{[":
            open_objects.append(set() if token == "{" else None)
            if len(open_objects) > max_depth:
                return start, f"nested more than {max_depth} deep"
        elif token in "}]":
            if open_objects:
                open_objects.pop()
        elif LONG_NUMBER.search(token):
            return start, f"a number may have {MAX_DIGITS} digits; this one has {len(token)} characters"
        elif not _is_finite_number(token):
            return start, f"a number must be finite; got {shown(token)}"
    return None


def _is_finite_number(number: str) -> bool:
    try:
        return math.isfinite(float(number))
    except ValueError:  # such as 1.2.3, which the parser refuses
        return True


def _object_of_distinct_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) != len(pairs):
        raise _Refused
    return result


def _refuse_constant(name: str) -> NoReturn:
    raise _Refused


def _finite_float(digits: str) -> float:
    value = float(digits)
    if not math.isfinite(value):
        raise _Refused
    return value


def _depth(value: Any, limit: int, string_keys_for: str | None = None) -> int:
    """Nesting depth of lists and objects; stops counting beyond `limit`."""
    depth = 0
    level = [value] if isinstance(value, (dict, list, tuple)) else []
    while level and depth <= limit:
        depth += 1
        inner: dict[int, Any] = {}  # by identity: an object that contains itself twice must not double at each level
        for container in level:
            if string_keys_for is not None and isinstance(container, dict):
                for key in container:
                    if not isinstance(key, str):
                        kind = type(key).__name__
                        raise FormatError(f"{string_keys_for}: an object's keys must be strings; got {kind}")
            parts = container.values() if isinstance(container, dict) else container
            inner.update({id(part): part for part in parts if isinstance(part, (dict, list, tuple))})
        level = list(inner.values())
    return depth
