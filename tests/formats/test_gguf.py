"""GGUF containers: valid ones read, the gguf package's own included, and nothing but FormatError for the rest."""

from __future__ import annotations

import struct
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from gguf_files import gguf_bytes, string, tensor_entry

from tinygrad_llm.errors import FormatError
from tinygrad_llm.formats import read_gguf
from tinygrad_llm.formats.gguf import TENSOR_TYPES
from tinygrad_llm.formats.gguf_blocks import LAYOUTS, dequantize, weights_per_block

MATRIX = np.arange(6, dtype=np.float32).reshape(2, 3)
SETTINGS = {"general.architecture": "llama", "llama.block_count": 3, "deep": -7, "x": 0.5, "yes": True}


def head(tensors: int, entries: int, body: bytes, version: int = 3) -> bytes:
    return b"GGUF" + struct.pack("<IQQ", version, tensors, entries) + body


def one_tensor(shape: tuple[int, ...] = (2, 3), kind: str | int = "F32", offset: int = 0, data: int = 24) -> bytes:
    front = head(1, 0, tensor_entry("a", shape, kind, offset))
    return front + bytes(-len(front) % 32 + data)


@pytest.mark.parametrize("version", [2, 3])
@pytest.mark.parametrize("alignment", [1, 32, 256])
def test_metadata_and_tensors(version: int, alignment: int, tmp_path: Path) -> None:
    path = tmp_path / "x.gguf"
    arrays = {"words": ["a", "é", ""], "numbers": [1, 2, 3], "scores": [0.5, -1.0], "flags": [True, False]}
    metadata = SETTINGS | arrays | {"general.alignment": alignment}
    tensors = {"a": MATRIX, "b": np.float32([[[1.5]]]), "c": MATRIX[0] + 7}
    path.write_bytes(gguf_bytes(metadata, tensors, version=version, alignment=alignment))
    file = read_gguf(path)
    assert {key: file.metadata[key] for key in SETTINGS} == SETTINGS
    assert {key: list(file.metadata[key]) for key in arrays} == arrays
    assert list(file.tensors) == ["a", "b", "c"]
    for name, expected in tensors.items():
        assert np.array_equal(file.array(name), expected)
        assert file.array(name).shape == expected.shape
        assert file.array(name).dtype == np.float32


@pytest.mark.parametrize("kind", list(LAYOUTS))
def test_every_type_of_tensor(kind: str, tmp_path: Path) -> None:
    layout, width = np.dtype(LAYOUTS[kind]), weights_per_block(kind)
    blocks = np.frombuffer(np.random.default_rng(0).bytes(6 * layout.itemsize), layout)
    path = tmp_path / "x.gguf"
    path.write_bytes(gguf_bytes({}, {"a": ((3, 2 * width), blocks.tobytes()), "b": MATRIX}, kinds={"a": kind}))
    file = read_gguf(path)
    expected = dequantize(blocks, kind).reshape(3, 2 * width)
    assert np.array_equal(file.array("a").view(np.uint32), expected.view(np.uint32))
    assert np.array_equal(file.array("b"), MATRIX)


def test_a_file_of_the_gguf_package(tmp_path: Path) -> None:
    gguf = pytest.importorskip("gguf")
    path = tmp_path / "x.gguf"
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_block_count(2)
    writer.add_rope_freq_base(10000.0)
    writer.add_token_list(["a", "b"])
    writer.add_token_scores([0.5, 1.5])
    writer.add_add_bos_token(True)
    x = np.random.default_rng(0).normal(size=(4, 64)).astype(np.float32)
    writer.add_tensor("a", x)
    types = [gguf.GGMLQuantizationType[name] for name in ("F16", "BF16", "Q8_0", "Q4_0", "Q4_1", "Q5_0", "Q5_1")]
    for number in types:
        writer.add_tensor(number.name, gguf.quantize(x, number), raw_dtype=number)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    file = read_gguf(path)
    assert file.metadata["llama.block_count"] == 2
    assert file.metadata["tokenizer.ggml.tokens"] == ["a", "b"]
    assert file.metadata["tokenizer.ggml.scores"].tolist() == [0.5, 1.5]
    assert file.metadata["tokenizer.ggml.add_bos_token"] is True
    assert np.array_equal(file.array("a"), x)
    for number in types:
        expected = gguf.dequantize(gguf.quantize(x, number), number)
        assert np.array_equal(file.array(number.name), expected), number.name


def test_writing_into_a_mapped_tensor_changes_no_file(tmp_path: Path) -> None:
    path = tmp_path / "x.gguf"
    data = gguf_bytes({}, {"a": MATRIX})
    path.write_bytes(data)
    file = read_gguf(path)
    view = file.array("a")
    path.unlink()  # the mapping outlives the name
    view += 1
    assert np.array_equal(view, MATRIX + 1)
    path.write_bytes(data)
    assert np.array_equal(read_gguf(path).array("a"), MATRIX)
    assert path.read_bytes() == data


def test_a_float32_that_is_not_aligned_is_copied(tmp_path: Path) -> None:
    path = tmp_path / "x.gguf"
    metadata = {"general.alignment": 1}
    for padding in range(4):
        path.write_bytes(gguf_bytes(metadata | {"x" * (padding + 1): "y"}, {"a": MATRIX}, alignment=1))
        array = read_gguf(path).array("a")
        assert array.flags.aligned
        assert np.array_equal(array, MATRIX)


MANY = 2**62
REFUSED: dict[str, tuple[bytes, str]] = {
    "empty": (b"", "must be a GGUF file"),
    "another format": (b"PK\x03\x04" + bytes(40), "must be a GGUF file"),
    "nothing but the name": (b"GGUF", "must be a GGUF file"),
    "version 1": (head(0, 0, b"", version=1), "version must be 2 or 3.*newer llama.cpp"),
    "version 4": (head(0, 0, b"", version=4), "version must be 2 or 3"),
    "big-endian": (b"GGUF" + struct.pack(">IQQ", 3, 0, 0), "it is big-endian"),
    "tensors without end": (head(MANY, 0, b""), "number of tensors may be"),
    "entries without end": (head(0, MANY, b""), "number of metadata entries may be"),
    "entries cut off": (head(0, 1, b""), "the file ends within length of a string|the file ends within"),
    "long string": (head(0, 1, struct.pack("<Q", MANY)), "a string may have"),
    "string cut off": (head(0, 1, struct.pack("<Q", 9) + b"abc"), "the file ends within a metadata key"),
    "no UTF-8": (head(0, 1, string(b"\xff") + struct.pack("<I?", 7, True)), "must be UTF-8"),
    "a key twice": (head(0, 2, 2 * (string("k") + struct.pack("<I?", 7, True))), "has 'k' twice"),
    "unknown type": (head(0, 1, string("k") + struct.pack("<II", 13, 1)), "'k' must be numbers.*got type 13"),
    "a boolean 2": (head(0, 1, string("k") + struct.pack("<IB", 7, 2)), "booleans, 0 or 1"),
    "array without end": (head(0, 1, string("k") + struct.pack("<IIQ", 9, 4, MANY)), "the file ends within 'k'"),
    "strings without end": (head(0, 1, string("k") + struct.pack("<IIQ", 9, 8, MANY)), "the metadata may have"),
    "array of arrays": (head(0, 1, string("k") + struct.pack("<IIQ", 9, 9, 1)), "an array of arrays"),
    "alignment 0": (gguf_bytes({"general.alignment": 0}, {"a": MATRIX}), "must be a power of two; got 0"),
    "alignment 3": (gguf_bytes({"general.alignment": 3}, {"a": MATRIX}), "must be a power of two; got 3"),
    "alignment in words": (gguf_bytes({"general.alignment": "32"}, {"a": MATRIX}), "must be a power of two; got '32'"),
    "alignments": (gguf_bytes({"general.alignment": [32, 32]}, {"a": MATRIX}), "must be a power of two"),
    "one of three parts": (gguf_bytes({"split.count": 3}, {"a": MATRIX}), "must be in one file.*llama-gguf-split"),
    "parts": (gguf_bytes({"split.count": [1, 1]}, {"a": MATRIX}), "must be in one file"),
    "no axes": (one_tensor(()), "axes of 'a' must be at least 1"),
    "an axis of 0": (one_tensor((0, 3), data=0), "axes of 'a' must be at least 1"),
    "five axes": (one_tensor((1,) * 5), "number of axes of 'a' may be 4"),
    "huge axes": (one_tensor((MANY, MANY)), "more bytes than 2.*63"),
    "large axes": (one_tensor((2**40, 2**10)), "the file is cut off"),
    "part of a block": (one_tensor((2, 33), "Q4_0"), "last a multiple of 32"),
    "IQ2_XXS": (one_tensor(kind="IQ2_XXS"), "'a' must be of one of the types F32.*got IQ2_XXS"),
    "Q8_K": (one_tensor((1, 256), kind="Q8_K", data=292), "got Q8_K"),
    "unknown type of tensor": (one_tensor(kind=1234), "got number 1234"),
    "cut off": (one_tensor(data=23), "the file is cut off"),
    "offset far away": (one_tensor(offset=2**62), "more bytes than|the file is cut off"),
    "offset between": (one_tensor(offset=8, data=64), "must begin at a multiple of 32 bytes; got 8"),
    "overlap": (
        head(2, 0, tensor_entry("a", (2, 8), "F32", 0) + tensor_entry("b", (1,), "F32", 32)) + bytes(200),
        "'b' begins inside 'a'",
    ),
    "a tensor twice": (head(2, 0, 2 * tensor_entry("a", (1,), "F32", 0)) + bytes(99), "'a' occurs twice"),
    "tensors cut off": (head(2, 0, tensor_entry("a", (1,), "F32", 0)), "the file ends within"),
}


@pytest.mark.parametrize("name", list(REFUSED))
def test_what_is_no_whole_gguf_file_is_refused_in_little_memory(name: str, tmp_path: Path) -> None:
    data, message = REFUSED[name]
    path = tmp_path / "x.gguf"
    path.write_bytes(data)
    tracemalloc.start()
    with pytest.raises(FormatError, match=f"(?s)x.gguf.*({message})") as caught:
        read_gguf(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 1_000_000
    assert len(str(caught.value)) < 500


def test_every_truncation_of_a_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.gguf"
    data = gguf_bytes({"words": ["a", "b"], "general.alignment": 8}, {"a": MATRIX}, alignment=8)
    for size in range(len(data)):
        path.write_bytes(data[:size])
        with pytest.raises(FormatError):
            read_gguf(path)


def test_a_folder_and_a_missing_file_are_refused(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "none.gguf"):
        with pytest.raises(FormatError, match="must be a file that can be read"):
            read_gguf(path)


def test_types_have_the_numbers_of_the_gguf_package() -> None:
    gguf = pytest.importorskip("gguf")
    known: dict[int, Any] = {int(kind): kind.name for kind in gguf.GGMLQuantizationType}
    assert {number: known[number] for number in TENSOR_TYPES if number in known}.items() <= TENSOR_TYPES.items()
