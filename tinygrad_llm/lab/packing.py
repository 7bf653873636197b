"""The form of every answer of the lab: a JSON head, and after it the arrays that the head names.

    bytes 0-3    b"LAB1"
    bytes 4-7    length of the head, uint32, a multiple of 8 (the head is padded with spaces)
    8 ...        the head; an array stands in it as {"$array": [offset, dtype, shape]}, with "scale" for a quantised one
    then         the arrays, little-endian, in C order; an offset counts from here and is a multiple of 8

An attention map of 128 tokens is 8,256 bytes in this form; as JSON text it would be ten times as much.
"""

from __future__ import annotations

import json
import math
import struct
from dataclasses import dataclass
from typing import Any

import numpy as np

from tinygrad_llm.arrays import Array
from tinygrad_llm.errors import FormatError

MAGIC = b"LAB1"
ALIGNMENT = 8  # bytes, so that the browser can lay typed arrays over the answer without a copy
DTYPES = {"u1", "i1", "u2", "i2", "i4", "f4", "f8"}


@dataclass(frozen=True)
class Quantized:
    """An array as integers that are multiples of `scale`."""

    values: Array
    scale: float


def quantize(x: Array, dtype: str) -> Quantized:
    """`x` as integers of `dtype` on one scale: its largest magnitude becomes the largest integer.

    Unsigned integers need x >= 0. NaN and infinity become 0.
    """
    x = np.nan_to_num(x.astype(np.float64), nan=0.0, posinf=0.0, neginf=0.0)
    steps = np.iinfo(dtype).max
    scale = float(np.abs(x).max(initial=0.0)) / steps or 1.0
    return Quantized(np.rint(x / scale).astype(dtype), scale)


def pack(head: Any) -> bytes:
    """The answer whose head is `head`, a JSON value that may hold arrays and `Quantized` ones anywhere.

    NaN and infinity outside of arrays become null.

    Raises: FormatError for an array whose dtype is not among DTYPES
    """
    parts: list[bytes] = []
    size = 0

    def add(x: Array) -> list[Any]:
        nonlocal size
        name = f"{x.dtype.kind}{x.dtype.itemsize}"
        if name not in DTYPES:
            raise FormatError(f"pack: arrays must be of {', '.join(sorted(DTYPES))}; got {x.dtype}")
        raw = np.ascontiguousarray(x, x.dtype.newbyteorder("<")).tobytes()
        raw += bytes(-len(raw) % ALIGNMENT)
        parts.append(raw)
        size += len(raw)
        return [size - len(raw), name, list(x.shape)]

    def plain(value: Any) -> Any:
        if isinstance(value, np.ndarray):
            return {"$array": add(value)}
        if isinstance(value, Quantized):
            return {"$array": add(value.values), "scale": value.scale}
        if isinstance(value, dict):
            return {str(key): plain(one) for key, one in value.items()}
        if isinstance(value, list | tuple):
            return [plain(one) for one in value]
        if isinstance(value, np.generic):
            value = value.item()
        return None if isinstance(value, float) and not math.isfinite(value) else value

    text = json.dumps(plain(head), ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    raw = text.encode("utf-8", "replace")  # a lone surrogate has no UTF-8
    raw += b" " * (-len(raw) % ALIGNMENT)
    return b"".join([MAGIC, struct.pack("<I", len(raw)), raw, *parts])


def finite(value: Any) -> Any:
    """`value` with None for NaN and infinity, which JSON does not have."""
    if isinstance(value, dict):
        return {key: finite(one) for key, one in value.items()}
    if isinstance(value, list):
        return [finite(one) for one in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def unpack(answer: bytes) -> Any:
    """The head of an answer, with its arrays in place (quantised ones multiplied by their scale).

    Raises: FormatError for bytes that `pack` did not write
    """
    if answer[:4] != MAGIC or len(answer) < 8:
        raise FormatError(f"unpack: an answer of the lab begins with {MAGIC!r}; got {answer[:4]!r}")
    (length,) = struct.unpack("<I", answer[4:8])
    body = answer[8 + length :]

    def restore(value: dict[str, Any]) -> Any:
        if "$array" not in value:
            return value
        offset, name, shape = value["$array"]
        x = np.frombuffer(body, np.dtype(f"<{name}"), math.prod(shape), offset).reshape(shape)
        return x * value["scale"] if "scale" in value else x

    return json.loads(answer[8 : 8 + length], object_hook=restore)
