"""The safetensors format: named arrays in a file that contains no code and can be memory-mapped.

The whole format (https://github.com/huggingface/safetensors) fits in one drawing. A file with a (2, 2) float32 array
named "a" and a (3,) uint8 array named "b":

    byte 0          8                                                         8 + N
         +----------+---------------------------------------------------------+------------------+---------+
         | N        | {"a":{"dtype":"F32","shape":[2,2],"data_offsets":[0,16]},| 1.0 2.0 3.0 4.0  | 7  8  9 |
         | 8 bytes, |  "b":{"dtype":"U8","shape":[3],"data_offsets":[16,19]}}  | 16 bytes of "a"  | 3 of "b"|
         | little-  |  and spaces, so that 8 + N is a multiple of 8            | row after row    |         |
         | endian   |                                                         |                  |         |
         +----------+---------------------------------------------------------+------------------+---------+
           length     header: one JSON object                                  data: no hole, no overlap
                                                                               offset 0 is here

Besides the tensors, the header may hold `"__metadata__"`, an object of strings. Numbers are little-endian, arrays in C
order. Writers sort arrays by item size, largest first, so that every array begins at a multiple of its item size.

The whole header is checked before any of it is used: a file from elsewhere may be truncated or malicious.
"""

import math
import mmap
import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from tinygrad_llm.errors import DTypeError, FormatError
from tinygrad_llm.formats.atomic import atomic_write
from tinygrad_llm.formats.regular_file import open_regular
from tinygrad_llm.formats.strict_json import json_bytes, parse_json, shown

JSON_SPACE = b" \t\n\r"
MAX_HEADER = 100_000_000  # bytes; the format's own limit
LARGEST = 2**63 - 1  # bytes of one array, and each of its axes: NumPy's limit
MOST_AXES = 64  # of a NumPy array
MAX_EXTRA_BRACKETS = 10_000  # in names and metadata
METADATA = "__metadata__"

# Bits per number, from narrow to wide: writers sort in the reverse order. Within a width it is the order of the
# reference implementation, so that the same arrays give the same bytes.
BITS = {
    "BOOL": 8,
    "F4": 4,
    "F6_E2M3": 6,
    "F6_E3M2": 6,
    "U8": 8,
    "I8": 8,
    "F8_E5M2": 8,
    "F8_E4M3": 8,
    "F8_E8M0": 8,
    "F8_E4M3FNUZ": 8,
    "F8_E5M2FNUZ": 8,
    "I16": 16,
    "U16": 16,
    "F16": 16,
    "BF16": 16,
    "I32": 32,
    "U32": 32,
    "F32": 32,
    "C64": 64,
    "F64": 64,
    "I64": 64,
    "U64": 64,
}
NUMPY_DTYPES = {
    "BOOL": "|b1",
    "U8": "|u1",
    "I8": "|i1",
    "I16": "<i2",
    "U16": "<u2",
    "F16": "<f2",
    "I32": "<i4",
    "U32": "<u4",
    "F32": "<f4",
    "F64": "<f8",
    "I64": "<i8",
    "U64": "<u8",
}
FORMAT_DTYPES = {np.dtype(code): name for name, code in NUMPY_DTYPES.items()}
WRITING_ORDER = {name: rank for rank, name in enumerate(reversed(BITS))}


@dataclass(frozen=True, slots=True)
class TensorInfo:
    """The entry of one tensor in a header; `begin` and `end` count bytes from the start of the data."""

    dtype: str
    shape: tuple[int, ...]
    begin: int
    end: int


@dataclass(frozen=True, slots=True)
class Header:
    """A checked header: the tensors in the order of the file's data, the metadata, and where the data begins."""

    tensors: dict[str, TensorInfo]
    metadata: dict[str, str]
    data_start: int


def read_header(path: str | os.PathLike[str]) -> Header:
    """Read the header of a safetensors file and check it, also against the file's size, without reading the data.

    Raises: FormatError, saying what is wrong and where
    """
    with open_regular(path) as file:
        return _read_header(file, os.fspath(path))


def read_safetensors(
    path: str | os.PathLike[str], *, as_float32: bool = False, copy: bool = False
) -> dict[str, NDArray[Any]]:
    """Read every tensor of a safetensors file, by name, in the order of the file's data.

    The arrays are read-only views of the memory-mapped file: data is read when it is used, and the file may be replaced
    or deleted meanwhile, but not shortened in place. With `copy=True` they are writable, and the file stays as it is:
    the system copies a page of the file when it is first written. With `as_float32=True`, BF16 and F16 become (new,
    writable) float32 arrays, exactly: a BF16 number is the upper half of a float32, with sign, the same 8 bits of
    exponent, and the first 7 bits of the fraction.

    Raises: FormatError for a file that violates the format, and for BF16 (without `as_float32`), FP8 and other types
            that NumPy lacks
    """
    with open_regular(path) as file:
        header = _read_header(file, os.fspath(path))
        access = mmap.ACCESS_COPY if copy else mmap.ACCESS_READ
        mapped = mmap.mmap(file.fileno(), 0, access=access)  # stays mapped as long as an array uses it
    source = os.fspath(path)
    return {
        name: _read_tensor(mapped, header.data_start, info, f"{source}: tensor {shown(name)}", as_float32)
        for name, info in header.tensors.items()
    }


def write_safetensors(
    path: str | os.PathLike[str],
    tensors: Mapping[str, NDArray[Any]],
    metadata: Mapping[str, str] | None = None,
) -> None:
    """Write named arrays as a safetensors file, atomically.

    Arrays may have any strides, any byte order and no axes. Equal contents give equal bytes, whatever the order of the
    mappings.

    Raises: DTypeError for an array that the format cannot hold, FormatError for such names or metadata, CheckpointError
            if the file cannot be written
    """
    header, arrays = _plan(tensors, metadata, os.fspath(path))  # checked before anything is written
    with atomic_write(path) as file:
        _write(file, header, arrays)


def dump_safetensors(
    file: BinaryIO, tensors: Mapping[str, NDArray[Any]], metadata: Mapping[str, str] | None = None
) -> None:
    """Write named arrays into an open binary file, as `write_safetensors` does.

    Raises: DTypeError and FormatError as there.
    """
    _write(file, *_plan(tensors, metadata, "safetensors"))


def _read_header(file: BinaryIO, source: str) -> Header:
    size = os.fstat(file.fileno()).st_size
    if size < 8:
        raise FormatError(f"{source}: must begin with 8 bytes of header length; the whole file has {size}")
    length = int.from_bytes(file.read(8), "little")
    if length > MAX_HEADER:
        raise FormatError(f"{source}: bytes 0 to 8: the header may have {MAX_HEADER} bytes; got {length}")
    if length > size - 8:
        raise FormatError(
            f"{source}: bytes 0 to 8 promise a header of {length} bytes; only {size - 8} follow: the file is cut off, "
            "or not safetensors"
        )
    text = file.read(length)
    if not text.lstrip(JSON_SPACE).startswith(b"{"):  # the reference reader accepts white space around the object too
        raise FormatError(f"{source}: byte 8: the header must begin with '{{'; got {text[:1]!r}")
    if not text.rstrip(JSON_SPACE).endswith(b"}"):
        raise FormatError(
            f"{source}: the header must end with '}}' and white space; got {text[-1:]!r} at byte {length + 7}"
        )
    brackets, tensors_promised = text.count(b"[") + text.count(b"{"), text.count(b'"dtype"')
    if brackets > 3 * tensors_promised + MAX_EXTRA_BRACKETS:  # a list of lists takes 70 times its text in memory
        raise FormatError(
            f"{source}: the header must hold an object and two lists for each tensor; got {brackets} objects and lists "
            f"for {tensors_promised} tensors"
        )
    entries = parse_json(text, f"{source}: header", max_depth=3)
    metadata = _check_metadata(entries.pop(METADATA, None), source)
    tensors = {name: _check_entry(entry, f"{source}: tensor {shown(name)}") for name, entry in entries.items()}
    ordered = dict(sorted(tensors.items(), key=lambda item: (item[1].begin, item[1].end)))
    end = 0
    for name, info in ordered.items():
        if info.begin != end:
            raise FormatError(
                f"{source}: tensor {shown(name)}: data_offsets must follow each other without hole or overlap, so "
                f"begin at {end} here; got [{info.begin}, {info.end}]"
            )
        end = info.end
    if end != size - 8 - length:
        raise FormatError(
            f"{source}: the tensors must end where the file ends; they take {end} bytes, and {size - 8 - length} "
            "follow the header: " + ("the file is cut off" if end > size - 8 - length else "something was appended")
        )
    return Header(ordered, metadata, 8 + length)


def _check_metadata(metadata: object, source: str) -> dict[str, str]:
    if metadata is None:  # left out, or null
        return {}
    if not isinstance(metadata, dict) or not all(isinstance(value, str) for value in metadata.values()):
        raise FormatError(f"{source}: {METADATA} must be an object of strings; got {shown(metadata)}")
    return metadata


def _check_entry(entry: object, source: str) -> TensorInfo:
    if not isinstance(entry, dict) or entry.keys() != {"dtype", "shape", "data_offsets"}:
        raise FormatError(f"{source}: must be an object of dtype, shape and data_offsets; got {shown(entry)}")
    dtype, shape, offsets = entry["dtype"], entry["shape"], entry["data_offsets"]
    if not isinstance(dtype, str) or dtype not in BITS:
        raise FormatError(f"{source}: dtype must be one of {', '.join(BITS)}; got {shown(dtype)}")
    if not _is_list_of_sizes(shape):
        raise FormatError(f"{source}: shape must be a list of integers from 0 to 2**63 - 1; got {shown(shape)}")
    if not _is_list_of_sizes(offsets) or len(offsets) != 2 or offsets[0] > offsets[1]:
        raise FormatError(f"{source}: data_offsets must be [begin, end], begin not after end; got {shown(offsets)}")
    if len(shape) > MOST_AXES:
        raise FormatError(f"{source}: shape may have {MOST_AXES} axes, NumPy's limit; got {len(shape)}")
    # NumPy computes an empty array's bytes without its empty axes, and this must not overflow.
    if math.prod(axis for axis in shape if axis) * BITS[dtype] > 8 * LARGEST:
        raise FormatError(f"{source}: shape {shown(shape)} has more bytes than 2**63 - 1")
    bits = math.prod(shape) * BITS[dtype]
    if bits != 8 * (offsets[1] - offsets[0]):
        raise FormatError(
            f"{source}: {dtype} of shape {shown(shape)} takes {bits / 8:.16g} bytes; data_offsets {shown(offsets)} "
            f"give it {offsets[1] - offsets[0]}"
        )
    return TensorInfo(dtype, tuple(shape), offsets[0], offsets[1])


def _is_list_of_sizes(value: object) -> bool:
    # `type` rather than `isinstance`, because True is an int to Python but not to the format.
    return isinstance(value, list) and all(type(size) is int and 0 <= size <= LARGEST for size in value)


def _read_tensor(mapped: mmap.mmap, data_start: int, info: TensorInfo, source: str, as_float32: bool) -> NDArray[Any]:
    if info.dtype == "BF16" and not as_float32:
        raise FormatError(f"{source}: NumPy has no BF16; read it with as_float32=True")
    if info.dtype != "BF16" and info.dtype not in NUMPY_DTYPES:
        raise FormatError(f"{source}: {info.dtype} cannot be computed with here; convert the file to F32 or BF16 first")
    stored = np.dtype("<u2" if info.dtype == "BF16" else NUMPY_DTYPES[info.dtype])
    # np.ndarray rather than np.frombuffer, which refuses a view of no bytes at the file's very end.
    view: NDArray[Any] = np.ndarray(info.shape, stored, buffer=mapped, offset=data_start + info.begin)
    if info.dtype == "BF16":
        bits = view.astype(np.uint32)
        bits <<= 16
        return bits.view(np.float32)
    if info.dtype == "BOOL" and (view.view(np.uint8) > 1).any():
        raise FormatError(f"{source}: a BOOL must be the byte 0 or 1; got {view.view(np.uint8).max()}")
    if info.dtype == "F16" and as_float32:
        return view.astype(np.float32)
    return view


def _plan(
    tensors: Mapping[str, NDArray[Any]], metadata: Mapping[str, str] | None, source: str
) -> tuple[bytes, list[NDArray[Any]]]:
    """The header's bytes, padded, and the arrays in the order in which their data follows."""
    dtypes = {}
    for name, array in tensors.items():
        if not isinstance(name, str) or name == METADATA:
            raise FormatError(f"{source}: a tensor's name must be a string other than {METADATA}; rename it")
        if not isinstance(array, (np.ndarray, np.generic)) or array.dtype.newbyteorder("<") not in FORMAT_DTYPES:
            kind = array.dtype if isinstance(array, (np.ndarray, np.generic)) else type(array).__name__
            raise DTypeError(
                f"{source}: tensor {shown(name)} must be an array of {', '.join(NUMPY_DTYPES)}; got {kind}; convert it"
            )
        dtypes[name] = FORMAT_DTYPES[array.dtype.newbyteorder("<")]
    entries: dict[str, object] = {}
    if metadata is not None:
        if not all(isinstance(text, str) for pair in metadata.items() for text in pair):
            raise FormatError(f"{source}: metadata must map strings to strings; convert the rest with str()")
        entries[METADATA] = dict(sorted(metadata.items()))
    names = sorted(tensors, key=lambda name: (WRITING_ORDER[dtypes[name]], name))
    end = 0
    for name in names:
        begin, end = end, end + tensors[name].nbytes
        shape = list(tensors[name].shape)
        entries[name] = {"dtype": dtypes[name], "shape": shape, "data_offsets": [begin, end]}
    header = json_bytes(entries, source, indent=None).rstrip(b"\n")
    header += b" " * (-len(header) % 8)
    if len(header) > MAX_HEADER:
        raise FormatError(f"{source}: the header may have {MAX_HEADER} bytes; these names need {len(header)}")
    return header, [tensors[name] for name in names]


def _write(file: BinaryIO, header: bytes, arrays: list[NDArray[Any]]) -> None:
    file.write(len(header).to_bytes(8, "little"))
    file.write(header)
    for array in arrays:
        # One array at a time is brought into C order, so the copy is never larger than the largest array. Not
        # np.ascontiguousarray, which would turn 0-d into 1-d, though the bytes would be the same.
        plain = np.asarray(array, dtype=array.dtype.newbyteorder("<"), order="C")
        file.write(plain.reshape(-1).view(np.uint8).data)
