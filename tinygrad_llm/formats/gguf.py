"""The GGUF format of llama.cpp: one file with a model's settings, its tokenizer and its tensors, mostly in few bits.

    byte 0    4         8              16            24
         +------+---------+--------------+-------------+----------------------+----------------------------+------
         | GGUF | version | number of    | number of   | metadata: for each,  | for each tensor: name, axes| the
         |      | 3       | tensors      | metadata    | key, type, value     | from the last to the first,| data
         |      |         |              | entries     |                      | type, offset in the data   |
         +------+---------+--------------+-------------+----------------------+----------------------------+------

Numbers are little-endian; a string is its length in 8 bytes and UTF-8. The data of each tensor begins at a multiple of
`general.alignment`, 32 bytes by default. How the tensors hold their numbers is told in `gguf_blocks.py`. The format is
described at https://github.com/ggml-org/ggml/blob/master/docs/gguf.md.

All that precedes the data is checked before any of it is used: a file from elsewhere may be truncated or malicious.
"""

from __future__ import annotations

import math
import mmap
import os
import struct
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tinygrad_llm.errors import FormatError
from tinygrad_llm.formats.gguf_blocks import LAYOUTS, dequantize, weights_per_block
from tinygrad_llm.formats.regular_file import open_regular
from tinygrad_llm.formats.strict_json import shown

VERSIONS = (2, 3)
ALIGNMENT = "general.alignment"
PARTS = "split.count"
MOST_AXES = 4
LARGEST = 2**63 - 1  # bytes of one array: NumPy's limit
# Far above any real model; they bound the memory that a malicious file can take.
MOST_TENSORS, MOST_ENTRIES, MOST_STRINGS, LONGEST_STRING = 100_000, 10_000, 4_000_000, 1 << 24

NUMBERS = {
    0: "<u1",
    1: "<i1",
    2: "<u2",
    3: "<i2",
    4: "<u4",
    5: "<i4",
    6: "<f4",
    7: "|b1",
    10: "<u8",
    11: "<i8",
    12: "<f8",
}
BOOL, STRING, ARRAY = 7, 8, 9
# ggml's numbers of the types; those that are not in LAYOUTS are refused by these names.
TENSOR_TYPES = {
    **dict(enumerate(["F32", "F16", "Q4_0", "Q4_1", "Q4_2", "Q4_3", "Q5_0", "Q5_1", "Q8_0", "Q8_1"])),
    **dict(enumerate(["Q2_K", "Q3_K", "Q4_K", "Q5_K", "Q6_K", "Q8_K"], 10)),
    **dict(enumerate(["IQ2_XXS", "IQ2_XS", "IQ3_XXS", "IQ1_S", "IQ4_NL", "IQ3_S", "IQ2_S", "IQ4_XS"], 16)),
    **dict(enumerate(["I8", "I16", "I32", "I64", "F64", "IQ1_M", "BF16"], 24)),
    **dict(zip((34, 35, 39, 40, 41), ("TQ1_0", "TQ2_0", "MXFP4", "NVFP4", "Q1_0"), strict=True)),
}


@dataclass(frozen=True, slots=True)
class GGUFTensor:
    """One tensor of a file: the type of its blocks, its shape in NumPy's order, and its first and last byte."""

    kind: str
    shape: tuple[int, ...]
    begin: int
    end: int


@dataclass(frozen=True)
class GGUF:
    """A checked file: `metadata` by key, with arrays of numbers as NumPy arrays; `tensors` in the order of the data."""

    path: str
    metadata: dict[str, Any]
    tensors: dict[str, GGUFTensor]
    _mapped: mmap.mmap

    def array(self, name: str) -> NDArray[np.float32]:
        """The weights of a tensor as float32.

        F32 is a view of the mapped file: it is read when it is used. Writing into it changes this process's memory, not
        the file. All other types become new arrays.
        """
        tensor = self.tensors[name]
        layout = np.dtype(LAYOUTS[tensor.kind])
        count = (tensor.end - tensor.begin) // layout.itemsize
        blocks: NDArray[Any] = np.ndarray((count,), layout, self._mapped, tensor.begin)
        if tensor.kind == "F32" and tensor.begin % 4 == 0:
            return np.ndarray(tensor.shape, np.float32, self._mapped, tensor.begin)
        return dequantize(blocks, tensor.kind).reshape(tensor.shape)


def read_gguf(path: str | os.PathLike[str]) -> GGUF:
    """Map a GGUF file, and read and check all but its data.

    The file may be replaced or deleted afterwards, but not shortened in place.

    Raises: FormatError, saying what is wrong and where
    """
    source = os.fspath(path)
    with open_regular(path) as file:
        size = os.fstat(file.fileno()).st_size
        if size < 24 or file.read(4) != b"GGUF":
            raise FormatError(
                f"{source}: must be a GGUF file, which begins with GGUF and 20 bytes of numbers; it does not"
            )
        mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY)  # stays mapped as long as an array uses it
    return _Reader(mapped, size, str(source)).read()


class _Reader:
    """Reads what precedes the data, from one position to the next."""

    def __init__(self, mapped: mmap.mmap, size: int, source: str) -> None:
        self.mapped, self.size, self.source = mapped, size, source
        self.position, self.strings_left = 4, MOST_STRINGS

    def read(self) -> GGUF:
        version = self._integer("I", "version")
        if version not in VERSIONS:
            swapped = int.from_bytes(version.to_bytes(4, "little"), "big")
            why = "it is big-endian" if swapped in VERSIONS else "convert the model again with a newer llama.cpp"
            raise FormatError(f"{self.source}: the version must be 2 or 3, little-endian; got {version}: {why}")
        tensor_count = self._count("Q", "number of tensors", MOST_TENSORS)
        entry_count = self._count("Q", "number of metadata entries", MOST_ENTRIES)
        metadata: dict[str, Any] = {}
        for _ in range(entry_count):
            key = self._string("a metadata key")
            if key in metadata:
                raise self._error(f"the metadata has {shown(key)} twice")
            metadata[key] = self._value(key)
        parts = metadata.get(PARTS, 1)
        if type(parts) is not int or parts > 1:
            raise FormatError(
                f"{self.source}: the model must be in one file; {PARTS} is {shown(parts)}: join the parts with "
                "`llama-gguf-split --merge`"
            )
        tensors: dict[str, GGUFTensor] = {}
        for _ in range(tensor_count):
            name = self._string("the name of a tensor")
            if name in tensors:
                raise self._error(f"the tensor {shown(name)} occurs twice")
            tensors[name] = self._tensor(name)
        return GGUF(self.source, metadata, self._placed(tensors, metadata.get(ALIGNMENT, 32)), self.mapped)

    def _placed(self, tensors: dict[str, GGUFTensor], alignment: object) -> dict[str, GGUFTensor]:
        """The tensors in the order of the data, with their bytes counted from the file's beginning."""
        if type(alignment) is not int or alignment < 1 or alignment & (alignment - 1):
            raise FormatError(f"{self.source}: {ALIGNMENT} must be a power of two; got {shown(alignment)}")
        data = -(-self.position // alignment) * alignment
        placed: dict[str, GGUFTensor] = {}
        end, last = data, ""
        for name, info in sorted(tensors.items(), key=lambda item: item[1].begin):
            begin, stop = data + info.begin, data + info.end
            if info.begin % alignment:
                raise FormatError(
                    f"{self.source}: the data of {shown(name)} must begin at a multiple of {alignment} bytes; "
                    f"got {info.begin}"
                )
            if begin < end:
                raise FormatError(f"{self.source}: tensors must not overlap; {shown(name)} begins inside {shown(last)}")
            if stop > self.size:
                raise FormatError(
                    f"{self.source}: {shown(name)} must end within the file of {self.size} bytes; it would end at byte "
                    f"{stop}: the file is cut off"
                )
            placed[name] = GGUFTensor(info.kind, info.shape, begin, stop)
            end, last = stop, name
        return placed

    def _tensor(self, name: str) -> GGUFTensor:
        """The entry of a tensor, whose `begin` and `end` are counted from the beginning of the data."""
        axes = self._count("I", f"number of axes of {shown(name)}", MOST_AXES)
        shape = tuple(self._integer("Q", "axis") for _ in range(axes))[::-1]
        number, begin = self._integer("I", "type"), self._integer("Q", "offset")
        kind = TENSOR_TYPES.get(number, f"number {number}")
        if kind not in LAYOUTS:
            raise self._error(
                f"the tensor {shown(name)} must be of one of the types {', '.join(LAYOUTS)}; got {kind}: take a file "
                "of another type"
            )
        width = weights_per_block(kind)
        if not shape or min(shape) < 1 or shape[-1] % width:
            raise self._error(
                f"the axes of {shown(name)} must be at least 1, the last a multiple of {width}, the numbers in a block "
                f"of {kind}; got {shape}"
            )
        end = begin + math.prod(shape) // width * np.dtype(LAYOUTS[kind]).itemsize
        if end > LARGEST or math.prod(shape) > LARGEST // 4:
            raise self._error(f"the tensor {shown(name)} has more bytes than 2**63 - 1; its shape is {shape}")
        return GGUFTensor(kind, shape, begin, end)

    def _value(self, key: str) -> Any:
        kind = self._integer("I", "type")
        if kind == STRING:
            return self._string(shown(key))
        if kind != ARRAY:
            return self._numbers(kind, 1, key)[0].item()
        kind, count = self._integer("I", "type"), self._integer("Q", "length of an array")
        if kind != STRING:
            return self._numbers(kind, count, key)
        self.strings_left -= count
        if self.strings_left < 0:
            raise self._error(f"the metadata may have {MOST_STRINGS} strings; {shown(key)} has {count}")
        return [self._string(shown(key)) for _ in range(count)]

    def _numbers(self, kind: int, count: int, key: str) -> NDArray[Any]:
        if kind not in NUMBERS:
            what = "an array of arrays" if kind == ARRAY else f"type {kind}"
            raise self._error(f"the value of {shown(key)} must be numbers, a string, or an array of these; got {what}")
        dtype = np.dtype(NUMBERS[kind])
        start = self._advance(count * dtype.itemsize, shown(key))
        numbers = np.frombuffer(self.mapped[start : self.position], dtype)
        if kind == BOOL and (numbers.view(np.uint8) > 1).any():
            raise self._error(f"the value of {shown(key)} must be booleans, 0 or 1 in a byte")
        return numbers

    def _string(self, what: str) -> str:
        length = self._integer("Q", "length of a string")
        if length > LONGEST_STRING:
            raise self._error(f"a string may have {LONGEST_STRING} bytes; {what} has {length}")
        start = self._advance(length, what)
        try:
            return self.mapped[start : self.position].decode()
        except UnicodeDecodeError:
            raise self._error(f"strings must be UTF-8; {what} is not") from None

    def _count(self, code: str, what: str, most: int) -> int:
        count = self._integer(code, what)
        if count > most:
            raise self._error(f"the {what} may be {most}; got {count}")
        return count

    def _integer(self, code: str, what: str) -> int:
        start = self._advance(8 if code == "Q" else 4, what)
        return int(struct.unpack_from(f"<{code}", self.mapped, start)[0])

    def _advance(self, count: int, what: str) -> int:
        """Move over so many bytes; returns where they start."""
        start = self.position
        if count > self.size - start:
            raise self._error(f"the file ends within {what}: {count} bytes are needed, {self.size - start} left")
        self.position += count
        return start

    def _error(self, what: str) -> FormatError:
        return FormatError(f"{self.source}: before byte {self.position}: {what}")
