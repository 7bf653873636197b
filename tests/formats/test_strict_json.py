"""Strict JSON: values, positions of faults, and nothing but FormatError."""

import json
import math
import os
import tracemalloc
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tinygrad_llm.errors import FormatError
from tinygrad_llm.formats import json_bytes, parse_json, read_json, read_optional_json_object, write_json


def brief(value: object) -> str:
    """A test's name; pytest's own would hold a hundred thousand brackets."""
    return value if isinstance(value, str) and value.isprintable() else type(value).__name__


characters = st.characters(exclude_categories=["Cs"])
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(characters),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(characters), inner, max_size=4),
    max_leaves=20,
)


@given(values, st.sampled_from([None, 2]))
def test_what_is_written_is_read_back(value: bool | dict[str, Any] | list[Any] | None, indent: int | None) -> None:
    data = json_bytes(value, indent=indent)
    assert parse_json(data, "x") == value == json.loads(data)


@pytest.mark.parametrize(
    ("text", "where", "what"),
    [
        (b"", "line 1, column 1", "not JSON"),
        (b'{"a": 1,\n "b": }', "line 2, column 7", "not JSON"),
        (b'{"a": 1} x', "line 1, column 10", "not JSON"),
        (b'{"a": 1, "b": 2,\n "a": 3}', "line 2, column 2", "'a' appears twice"),
        (b'[{"a": {"b": 1}, "c": {"b": 1, "\\u0062": 2}}]', "line 1, column 32", "'b' appears twice"),
        (b"[1, NaN]", "line 1, column 5", "finite"),
        (b'["NaN", -Infinity]', "line 1, column 9", "finite"),
        (b'{"a": "a", "b": {"a": ["a"]}, "c": NaN}', "line 1, column 36", "finite"),
        (b"[1e5, 1e999]", "line 1, column 7", "finite"),
        (b"[" + b"9" * 401 + b"]", "line 1, column 2", "400 digits"),
        (b"[0." + b"1" * 500 + b"]", "line 1, column 2", "400 digits"),
        (b'["a", "x\\ud800y"]', "line 1, column 7", "surrogate"),
        (b'{"\\uDC00\\ud800": 1}', "line 1, column 2", "surrogate"),
        (b'["\n"]', "line 1, column 3", "not JSON"),
        (b'{"a": "\xc3\xa9\xff"}', "line 1, column 9", "0xff"),
        (b"\xef\xbb\xbf{}", "line 1, column 1", "byte order mark"),
        (b"[" * 65 + b"]" * 65, "line 1, column 65", "64 deep"),
        (b"[" * 100_000, "line 1, column 65", "64 deep"),
        (b'{"a":' * 100_000, "line 1, column 321", "64 deep"),
    ],
    ids=brief,
)
def test_a_fault_is_named_with_its_place(text: bytes, where: str, what: str) -> None:
    with pytest.raises(FormatError) as caught:
        parse_json(text, "config.json")
    message = str(caught.value)
    assert message.startswith(f"config.json: {where}: ")
    assert what in message
    assert "\n" not in message
    assert len(message) < 400


@pytest.mark.parametrize(
    ("text", "value"),
    [
        (b"[" * 64 + b"]" * 64, None),
        (b'["\\ud83d\\ude00"]', ["😀"]),
        (b'{"a": "a", "b": ["a", "b"], "c": "\\ud83d\\ude00"}', {"a": "a", "b": ["a", "b"], "c": "😀"}),
        (b'["' + b"9" * 1000 + b'"]', ["9" * 1000]),
        (b'{"a": {"a": 1}, "b": {"a": 1}}', {"a": {"a": 1}, "b": {"a": 1}}),
        (b" " * 1_000_000 + b"1", 1),
        (b"9" * 400, int("9" * 400)),
        (b'["[[[{{{", "\\"", "a\\\\"]', ["[[[{{{", '"', "a\\"]),
    ],
    ids=brief,
)
def test_what_only_looks_wrong_is_read(text: bytes, value: dict[str, Any] | int | list[str] | None) -> None:
    assert value is None or parse_json(text, "x") == value


def judge(text: str) -> bool:
    """A second opinion, built on Python's json alone."""

    def check(value: list[Any], depth: int) -> bool:
        if isinstance(value, str):
            return value.isprintable() or not any(0xD800 <= ord(letter) < 0xE000 for letter in value)
        if isinstance(value, float):
            return math.isfinite(value)
        if isinstance(value, Pairs):
            keys = [key for key, _ in value.pairs]
            parts = [part for pair in value.pairs for part in pair]
            return depth < 64 and len(set(keys)) == len(keys) and all(check(part, depth + 1) for part in parts)
        if isinstance(value, list):
            return depth < 64 and all(check(x, depth + 1) for x in value)
        return True

    class Pairs:
        def __init__(self, pairs: Any) -> None:
            self.pairs = pairs

    try:
        return check(json.loads(text, object_pairs_hook=Pairs), 0)
    except (ValueError, RecursionError):
        return False


PIECES = [
    *'{}[],:"\\ \n',
    '"a"',
    '"b"',
    '"a":',
    '{"a":1}',
    "NaN",
    "-",
    "1",
    "0.5",
    "1e999",
    "\\ud800",
    "\\udc00",
    "true",
    "null",
    "é",
    "\x00",
]
fragments = st.lists(st.sampled_from(PIECES), max_size=12).map("".join)


@given(fragments | fragments.map(lambda inside: f"[{inside}]") | fragments.map(lambda inside: f'{{"a":{inside}}}'))
@example('{"a":1,"a":')
def test_a_second_parser_refuses_the_same_texts(text: str) -> None:
    try:
        parse_json(text.encode(), "x")
        read = True
    except FormatError:
        read = False
    assert read == judge(text)


@given(st.binary(max_size=60))
def test_random_bytes_end_in_a_value_or_a_format_error(data: bytes) -> None:
    try:
        parse_json(data, "x")
    except FormatError as error:
        assert str(error).startswith("x: ")


@pytest.mark.parametrize(
    "unit", [b'"\\"', b'"', b"[],", b"{", b'{"a":1},', b"1,", b"9", b"-", b"\\", b"\\ud800", b'"\\ud800",']
)
def test_time_and_memory_are_proportional_to_the_text(unit: bytes) -> None:
    text = b"[" + unit * (200_000 // len(unit))
    tracemalloc.start()
    with pytest.raises(FormatError):
        parse_json(text, "x")
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 120 * len(text)


def test_a_recursion_error_never_leaves() -> None:
    def dive(depth: int) -> None:
        try:
            parse_json(b"[" * 60 + b"]" * 60, "x")
        except FormatError as error:
            assert "stack" in str(error)
            return
        dive(depth + 1)

    try:
        dive(0)
    except RecursionError as error:  # Python's frames for dive itself may be the ones that ran out
        assert "parse_json" not in str(error)


@pytest.mark.parametrize(
    ("value", "what"),
    [
        (math.nan, "cannot hold"),
        ([math.inf], "cannot hold"),
        ({1: 2}, "keys"),
        ({"a": {None: 1}}, "keys"),
        ("\ud800", "surrogate"),
        ({"\udfff": 1}, "surrogate"),
        ({"a": object()}, "cannot hold"),
        (10**400, "400 digits"),
        (10**5000, "cannot hold"),
        ({10**5000: 1}, "keys"),
    ],
    ids=brief,
)
def test_what_json_cannot_hold_is_not_written(tmp_path: Path, value: Any, what: str) -> None:
    with pytest.raises(FormatError, match=what):
        write_json(tmp_path / "x.json", value)
    assert os.listdir(tmp_path) == []


def test_circular_values_are_refused() -> None:
    circle: list = []
    circle.extend([circle, circle])
    with pytest.raises(FormatError, match="circular"):
        json_bytes(circle)


def test_files_are_written_whole_and_read_back(tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    write_json(path, {"a": [1, 2], "ü": "é"})
    assert path.read_text(encoding="utf-8") == '{\n  "a": [\n    1,\n    2\n  ],\n  "ü": "é"\n}\n'
    assert read_json(path) == {"a": [1, 2], "ü": "é"}


def test_a_path_that_is_no_file_is_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    for name, what in {
        "none": "none of that name",
        "pipe": "regular file",
        ".": "is a folder",
        "loop": "must be a file",
        "a\0b": "null byte",
        "a\ud800b": "lone surrogate",
        "x" * 300: "must be a file",
    }.items():
        with pytest.raises(FormatError, match=what):
            read_json(tmp_path / name)


def test_an_optional_object_is_empty_without_its_file_and_never_for_a_damaged_one(tmp_path: Path) -> None:
    assert read_optional_json_object(tmp_path / "settings.json") == {}
    write_json(tmp_path / "settings.json", {"a": 1})
    assert read_optional_json_object(tmp_path / "settings.json") == {"a": 1}
    (tmp_path / "settings.json").write_bytes(b"")
    with pytest.raises(FormatError, match=r"settings\.json"):
        read_optional_json_object(tmp_path / "settings.json")
