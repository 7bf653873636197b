"""The bytes of GGUF files, valid or not, for tests."""

from __future__ import annotations

import struct
from collections.abc import Mapping
from typing import Any

import numpy as np

from tinygrad_llm.formats.gguf import TENSOR_TYPES

TYPE_NUMBERS = {name: number for number, name in TENSOR_TYPES.items()}


def string(text: str | bytes) -> bytes:
    data = text.encode() if isinstance(text, str) else text
    return struct.pack("<Q", len(data)) + data


def value(content: Any) -> bytes:
    """A value with its type: bool, uint32 or int32, float32, string, or an array of one of these."""
    if isinstance(content, bool):
        return struct.pack("<I?", 7, content)
    if isinstance(content, int):
        return struct.pack("<II", 4, content) if content >= 0 else struct.pack("<Ii", 5, content)
    if isinstance(content, float):
        return struct.pack("<If", 6, content)
    if isinstance(content, str):
        return struct.pack("<I", 8) + string(content)
    items = [value(item) for item in content] or [value("")]
    kinds = {item[:4] for item in items}
    kind = items[0][:4] if len(kinds) == 1 else struct.pack("<I", 5)  # unsigned and signed numbers together
    return (
        struct.pack("<I", 9) + kind + struct.pack("<Q", len(content)) + b"".join(item[4:] for item in items if content)
    )


def tensor_entry(name: str | bytes, shape: tuple[int, ...], kind: str | int, offset: int) -> bytes:
    """An entry of the list of tensors; `shape` in NumPy's order."""
    number = kind if isinstance(kind, int) else TYPE_NUMBERS[kind]
    axes = struct.pack(f"<I{len(shape)}Q", len(shape), *reversed(shape))
    return string(name) + axes + struct.pack("<IQ", number, offset)


def gguf_bytes(
    metadata: Mapping[str, Any],
    tensors: Mapping[str, Any] | None = None,
    *,
    version: int = 3,
    alignment: int = 32,
    kinds: Mapping[str, str] | None = None,
) -> bytes:
    """A file; a tensor is a float32 array, or has its shape and its bytes in the type of `kinds`."""
    entries, data = b"", b""
    for name, content in (tensors or {}).items():
        kind = (kinds or {}).get(name, "F32")
        shape, raw = content if isinstance(content, tuple) else (content.shape, np.asarray(content, "<f4").tobytes())
        data += b"\0" * (-len(data) % alignment)
        entries += tensor_entry(name, shape, kind, len(data))
        data += raw
    head = b"GGUF" + struct.pack("<IQQ", version, len(tensors or {}), len(metadata))
    head += b"".join(string(key) + value(content) for key, content in metadata.items()) + entries
    return head + b"\0" * (-len(head) % alignment) + data
