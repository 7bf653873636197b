"""Random changes of a file's bytes: parts removed, repeated, replaced; and, in JSON, other values in place of one."""

from __future__ import annotations

import json
import random
from typing import Any

TOKENS = [
    b"",
    b"\0",
    b"\xff",
    b"\xef\xbb\xbf",
    b"-1",
    b"0",
    b"9" * 30,
    b"1e999",
    b"NaN",
    b"null",
    b"true",
    b"\n",
    b"\r",
]
TOKENS += [
    b'"',
    b",",
    b"\t",
    b"{",
    b"}",
    b"[" * 100,
    b"]",
    b"\\ud800",
    b"\\u0000",
    b"../",
    b"/dev/zero",
    b"\xf0\x9f\x98\x80",
]
VALUES: list[Any] = [None, True, False, 0, 1, -1, 2**31, 10**30, 0.5, 1e300, "", "x", "x" * 5000, "\0", "../x", "é"]
VALUES += [[], {}, [[]], [1], ["x"], {"a": 1}, [None] * 3, [-1, 1], [0, 10**18], {"x" * 2000: 1}]


def mutated(data: bytes, dice: random.Random) -> bytes:
    """The bytes after one to four random changes."""
    for _ in range(dice.randint(1, 4)):
        data = _other_value(data, dice) if dice.random() < 0.6 else _other_bytes(data, dice)
    return data


def _other_bytes(data: bytes, dice: random.Random) -> bytes:
    start = dice.randint(0, len(data))
    stop = min(len(data), start + dice.choice([0, 1, 1, 2, 8, len(data)]))
    change = dice.randrange(4)
    if change == 0:  # remove
        return data[:start] + data[stop:]
    if change == 1:  # repeat
        return data[:stop] + data[start:]
    if change == 2 and start < len(data):  # flip a bit
        return data[:start] + bytes([data[start] ^ 1 << dice.randrange(8)]) + data[start + 1 :]
    return data[:start] + dice.choice(TOKENS) + data[stop:]


def _other_value(data: bytes, dice: random.Random) -> bytes:
    """JSON with another value somewhere; other bytes where the data is not JSON. A safetensors header is JSON too."""
    length = int.from_bytes(data[:8], "little")
    if 0 < length <= len(data) - 8 and data[8:9] == b"{":
        header = _other_value(data[8 : 8 + length], dice)
        return len(header).to_bytes(8, "little") + header + data[8 + length :]
    lines = data.split(b"\n") if data.count(b"\n{") else [data]
    number = dice.randrange(len(lines))
    try:
        value = json.loads(lines[number])
        lines[number] = json.dumps(_replaced(value, dice)).encode()
    except (ValueError, RecursionError):
        return _other_bytes(data, dice)
    return b"\n".join(lines)


def _replaced(value: Any, dice: random.Random) -> Any:
    """The value with one of its parts, at a random depth, replaced, removed or renamed."""
    if not isinstance(value, dict | list) or not value or dice.random() < 0.15:
        return dice.choice(VALUES)
    copy: Any = value.copy()
    key = dice.choice(list(copy)) if isinstance(copy, dict) else dice.randrange(len(copy))
    change = dice.random()
    if change < 0.1:
        del copy[key]
    elif change < 0.2 and isinstance(copy, dict):
        copy[dice.choice(["", "x", "__metadata__", "a" * 3000])] = copy.pop(key)
    elif change < 0.2:
        copy.append(copy[key])
    else:
        copy[key] = _replaced(copy[key], dice)
    return copy
