"""safetensors: bytes equal to the reference's, and nothing but FormatError for damaged files."""

import json
import os
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from tinygrad_llm.errors import CheckpointError, DTypeError, FormatError
from tinygrad_llm.formats import read_header, read_safetensors, write_safetensors

DTYPES = ["?", "u1", "i1", "i2", "u2", "f2", "i4", "u4", "f4", "f8", "i8", "u8"]


def build(header: bytes | dict[str, Any], data: bytes = b"", length: int | None = None) -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return (len(text) if length is None else length).to_bytes(8, "little") + text + data


def entry(
    dtype: list[str] | str = "F32",
    shape: list[Any] | tuple[Any, ...] = (2,),
    offsets: list[int] | tuple[Any, ...] = (0, 8),
) -> dict[str, Any]:
    return {"dtype": dtype, "shape": list(shape), "data_offsets": list(offsets)}


def test_the_bytes_are_exactly_these(tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    tensors = {
        "e": np.array([True, False]),
        "b": np.array([7, 8, 9], np.uint8),
        "wide": np.zeros((0, 3), np.int16),
        "a": np.array([[1, 2], [3, 4]], np.float32),
        "é\n": np.array(2.0),
    }
    write_safetensors(path, tensors, {"format": "pt"})
    header = (
        '{"__metadata__":{"format":"pt"},"é\\n":{"dtype":"F64","shape":[],"data_offsets":[0,8]},'
        '"a":{"dtype":"F32","shape":[2,2],"data_offsets":[8,24]},"wide":{"dtype":"I16","shape":[0,3],'
        '"data_offsets":[24,24]},"b":{"dtype":"U8","shape":[3],"data_offsets":[24,27]},'
        '"e":{"dtype":"BOOL","shape":[2],"data_offsets":[27,29]}}'
    ).encode()
    header += b" " * (-len(header) % 8)
    data = np.array(2.0, "<f8").tobytes() + np.array([1, 2, 3, 4], "<f4").tobytes() + bytes([7, 8, 9, 1, 0])
    assert path.read_bytes() == build(header, data)


arrays = st.sampled_from(DTYPES).flatmap(
    lambda dtype: hnp.arrays(dtype, hnp.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=4))
)


@st.composite
def views(draw: st.DrawFn) -> np.int32 | np.ndarray | np.uint16:
    """Arrays as they come in life: transposed, strided, backwards, broadcast, big-endian."""
    array = draw(arrays)
    array = array.transpose(draw(st.permutations(range(array.ndim))))
    array = array[tuple(slice(None, None, draw(st.sampled_from([1, 2, -1]))) for _ in range(array.ndim))]
    if draw(st.booleans()):
        array = np.broadcast_to(array, (2, *array.shape))
    if draw(st.booleans()):
        array = array.astype(array.dtype.newbyteorder(">"))
    return array


names = st.text(st.characters(exclude_categories=["Cs"]), max_size=5).filter(lambda name: name != "__metadata__")


texts = st.none() | st.dictionaries(names, names, max_size=2)


@given(st.dictionaries(names, views(), max_size=4), texts, st.booleans())
def test_arrays_of_any_layout_round_trip(
    tmp_path_factory: pytest.TempPathFactory, tensors: dict[str, Any], metadata: dict[str, Any] | None, copy: bool
) -> None:
    path = tmp_path_factory.getbasetemp() / "roundtrip.safetensors"
    write_safetensors(path, tensors, metadata)
    back = read_safetensors(path, copy=copy)
    header = read_header(path)
    assert back.keys() == header.tensors.keys() == tensors.keys()
    assert header.metadata == (metadata or {})
    assert header.data_start % 8 == 0
    for name, array in tensors.items():
        assert back[name].dtype == array.dtype.newbyteorder("<")
        np.testing.assert_array_equal(back[name], array)
        assert back[name].flags.writeable == copy
        assert back[name].flags.aligned
        assert back[name].flags.c_contiguous


@given(st.dictionaries(names, arrays, min_size=1, max_size=4), st.none() | st.dictionaries(names, names, max_size=1))
def test_bytes_equal_the_reference_implementations(
    tmp_path_factory: pytest.TempPathFactory, tensors: dict[str, np.ndarray], metadata: Any
) -> None:
    reference = pytest.importorskip("safetensors.numpy")
    path = tmp_path_factory.getbasetemp() / "reference.safetensors"
    write_safetensors(path, tensors, metadata)
    assert path.read_bytes() == reference.save(tensors, metadata)


def test_equal_contents_give_equal_bytes(tmp_path: Path) -> None:
    write_safetensors(tmp_path / "1", {"a": np.zeros(2), "b": np.ones(2)}, {"x": "1", "y": "2"})
    write_safetensors(tmp_path / "2", {"b": np.ones(2), "a": np.zeros(2)}, {"y": "2", "x": "1"})
    assert (tmp_path / "1").read_bytes() == (tmp_path / "2").read_bytes()


def test_half_numbers_widen_exactly(tmp_path: Path) -> None:
    every = np.arange(2**16, dtype=np.uint16)
    path = tmp_path / "x"
    header = {"b": entry("BF16", (2**16,), (0, 2**17)), "h": entry("F16", (2**8, 2**8), (2**17, 2**18))}
    path.write_bytes(build(header, every.tobytes() * 2))
    wide = read_safetensors(path, as_float32=True)
    np.testing.assert_array_equal(wide["b"].view(np.uint32), every.astype(np.uint32) * 65536)
    assert wide["b"][[0x3F80, 0xC040, 0x7F80]].tolist() == [1.0, -3.0, np.inf]
    np.testing.assert_array_equal(wide["h"], every.view(np.float16).astype(np.float32).reshape(256, 256))
    assert wide["b"].dtype == wide["h"].dtype == np.float32
    with pytest.raises(FormatError, match="'b': NumPy has no BF16; read it with as_float32=True"):
        read_safetensors(path)


@pytest.mark.parametrize("dtype", ["F8_E4M3", "F8_E5M2", "F8_E8M0", "C64", "F4"])
def test_known_numbers_that_numpy_lacks_are_refused_by_name(tmp_path: Path, dtype: str) -> None:
    path = tmp_path / "x"
    size = {"C64": 16, "F4": 1}.get(dtype, 2)
    path.write_bytes(build({"w": entry(dtype, (2,), (0, size))}, bytes(size)))
    assert read_header(path).tensors["w"].dtype == dtype
    with pytest.raises(FormatError, match=f"'w': {dtype} cannot be computed"):
        read_safetensors(path, as_float32=True)


def test_views_are_maps_that_outlive_the_file(tmp_path: Path) -> None:
    path = tmp_path / "x"
    write_safetensors(path, {"a": np.arange(1000.0)})
    a = read_safetensors(path)["a"]
    with pytest.raises(ValueError, match="read-only"):
        a[0] = 1
    write_safetensors(path, {"a": a + 1})  # onto the very file that `a` looks into
    assert (a == np.arange(1000.0)).all()
    assert (read_safetensors(path)["a"] == np.arange(1000.0) + 1).all()
    path.unlink()
    assert a.sum() == 499500


TWO = {"a": entry(), "b": entry("U8", (3,), (8, 11))}


@pytest.mark.parametrize(
    ("content", "what"),
    [
        (b"", "8 bytes of header length"),
        (b"1234567", "8 bytes of header length"),
        (build(b"{}", length=100_000_001), "100000000 bytes; got 100000001"),
        (b"\xff" * 20, "100000000 bytes"),
        (build(b"{}", length=3), "promise a header of 3 bytes; only 2 follow: the file is cut off"),
        (build(b""), "begin with '{'"),
        (build(b"\x0b{}"), "begin with '{'"),
        (build(b"[]"), "begin with '{'"),
        (build(b"{}\x0b"), "end with '}'"),
        (build(b'{"a":}'), "line 1, column 6"),
        (build(b'{"\xff":{}}'), "UTF-8"),
        (build(b'{"a":1,"a":1}'), "'a' appears twice"),
        (build(b'{"a":{"dtype":"F32","dtype":"F32"}}'), "'dtype' appears twice"),
        (build(b'{"a":' * 5000 + b"{}" + b"}" * 5000), "nested more than 3"),
        (build(b'{"a":' * 20000 + b"}" * 20000), "two lists for each tensor"),
        (build({"__metadata__": {"a": 1}}), "object of strings"),
        (build({"__metadata__": ["a"]}), "object of strings"),
        (build({"a": 5}), "dtype, shape and data_offsets"),
        (build({"a": {"dtype": "F32", "shape": [0]}}), "dtype, shape and data_offsets"),
        (build({"a": entry() | {"more": 1}}), "dtype, shape and data_offsets"),
        (build({"a": entry("f32")}, bytes(8)), "dtype must be one of"),
        (build({"a": entry(["F32"])}, bytes(8)), "dtype must be one of"),
        (build({"a": entry("F128")}, bytes(8)), "dtype must be one of"),
        (build({"a": entry(shape=[2.0])}, bytes(8)), "shape must be"),
        (build({"a": entry(shape=[True, 2])}, bytes(8)), "shape must be"),
        (build({"a": entry(shape=[-2, -1])}, bytes(8)), "shape must be"),
        (build({"a": entry(shape=["2"])}, bytes(8)), "shape must be"),
        (build({"a": entry() | {"shape": 2}}, bytes(8)), "shape must be"),
        (build({"a": entry(shape=[2**63])}, bytes(8)), "shape must be"),
        (build({"a": entry(shape=[2**62, 4])}, bytes(8)), "more bytes than"),
        (build({"a": entry(shape=[2**40, 0, 2**40], offsets=(0, 0))}), "more bytes than"),
        (build({"a": entry(shape=[2**61], offsets=(0, 2**63))}), "data_offsets must be"),
        (build({"a": entry(shape=[1] * 65, offsets=(0, 4))}, bytes(4)), "64 axes"),
        (build({"a": entry(shape=[3])}, bytes(8)), "takes 12 bytes; .* give it 8"),
        (build({"a": entry(shape=[1])}, bytes(8)), "takes 4 bytes; .* give it 8"),
        (build({"a": entry("F4", [3], [0, 1])}, bytes(1)), "takes 1.5 bytes"),
        (build({"a": entry(offsets=(8, 0))}, bytes(8)), "data_offsets must be"),
        (build({"a": entry(offsets=(0, 8, 8))}, bytes(8)), "data_offsets must be"),
        (build({"a": entry(offsets=(False, 8))}, bytes(8)), "data_offsets must be"),
        (build({"a": entry(offsets=(4, 12))}, bytes(12)), "begin at 0 here"),
        (build({"a": entry(), "b": entry(offsets=(4, 12))}, bytes(12)), "'b': .* begin at 8 here"),
        (build({"a": entry(), "b": entry(offsets=(12, 20))}, bytes(20)), "'b': .* begin at 8 here"),
        (build({"a": entry(), "b": entry()}, bytes(8)), "begin at 8 here"),
        (build(TWO, bytes(10)), "take 11 bytes, and 10 follow the header: the file is cut off"),
        (build(TWO, bytes(12)), "take 11 bytes, and 12 follow the header: something was appended"),
        (build({"b": entry("BOOL", (3,), (0, 3))}, b"\x00\x01\x02"), "'b': a BOOL must be the byte 0 or 1; got 2"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_damaged_file_is_one_format_error_with_its_cause_and_position(
    tmp_path: Path, content: bytes, what: str
) -> None:
    path = tmp_path / "x.safetensors"
    path.write_bytes(content)
    with pytest.raises(FormatError, match=what) as caught:
        read_safetensors(path)
    message = str(caught.value)
    assert message.startswith(f"{path}: ")
    assert "\n" not in message
    assert len(message) < len(str(path)) + 400


def test_odd_but_valid_files_are_read(tmp_path: Path) -> None:
    path = tmp_path / "x"
    for content, expected in [
        (build(b"{}"), {}),
        (build(b'{"__metadata__":{}}    '), {}),
        (build({"e": entry(shape=[0, 5], offsets=(0, 0))}), {"e": np.zeros((0, 5), "f4")}),
        (
            build({"z": entry("U8", [1], [0, 1]), "a": entry("F64", [1], [1, 9])}, b"\x05" + np.array(2.5).tobytes()),
            {"z": np.array([5], "u1"), "a": np.array([2.5])},
        ),  # unaligned
        (
            build({"late": entry("U8", [1], [2, 3]), "first": entry("U8", [2], [0, 2])}, b"123"),
            {"first": np.array([49, 50], "u1"), "late": np.array([51], "u1")},
        ),
    ]:
        path.write_bytes(content)
        back = read_safetensors(path)
        assert list(back) == list(expected)
        for name, array in expected.items():
            np.testing.assert_array_equal(back[name], array, strict=True)


VALID = build(
    {
        "__metadata__": {"k": "v"},
        "a": entry("F32", (2, 3), (0, 24)),
        "e": entry("I16", (0, 2), (24, 24)),
        "b": entry("BF16", (2,), (24, 28)),
        "c": entry("BOOL", (), (28, 29)),
    },
    bytes(29),
)


def read_or_format_error(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    try:
        tensors = read_safetensors(path, as_float32=True)
    except FormatError as error:
        assert str(error).startswith(f"{path}: ")
    else:
        assert sum(array.nbytes for array in tensors.values()) <= 2 * len(content)


hostile_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.sampled_from(["F32", "U8", "BF16", 2**63, 2**64, -1]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.fixed_dictionaries({"dtype": inner, "shape": inner, "data_offsets": inner})
        | st.dictionaries(st.sampled_from(["a", "b", "__metadata__", "dtype", "shape"]), inner, max_size=3)
    ),
)


@given(st.data())
def test_fuzzed_files_end_in_arrays_or_a_format_error(tmp_path_factory: pytest.TempPathFactory, data: Any) -> None:
    path = tmp_path_factory.getbasetemp() / "fuzz.safetensors"
    kind = data.draw(st.sampled_from(["bytes", "cut", "mutated", "json", "numbers"]))
    if kind == "bytes":
        content = data.draw(st.binary(max_size=40))
    elif kind == "cut":
        content = VALID[: data.draw(st.integers(0, len(VALID)))]
    elif kind == "json":
        content = build(data.draw(st.dictionaries(st.sampled_from(["a", "b", "__metadata__"]), hostile_json)), bytes(8))
    elif kind == "numbers":
        content = VALID
        for old in data.draw(st.lists(st.sampled_from([b"24", b"28", b"29", b"2, 3", b"0"]), max_size=3)):
            content = content.replace(old, str(data.draw(st.integers() | st.just(10**500))).encode(), 1)
        content = build(content[8:-29], content[-29:])
    else:
        array = bytearray(VALID)
        for _ in range(data.draw(st.integers(1, 4))):
            array[data.draw(st.integers(0, len(array) - 1))] = data.draw(st.sampled_from(b'0123456789{}[],:" \xff\x00'))
        content = bytes(array)
    read_or_format_error(path, content)


@pytest.mark.parametrize("unit", [b'"a":[],', b'"":{"":[', b"[", b'"', b"9"])
def test_memory_is_proportional_to_the_file(tmp_path: Path, unit: bytes) -> None:
    path = tmp_path / "x"
    path.write_bytes(build(b"{" + unit * (300_000 // len(unit)) + b"}"))
    tracemalloc.start()
    with pytest.raises(FormatError):
        read_safetensors(path)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 100 * path.stat().st_size


def test_sizes_in_a_header_allocate_no_memory(tmp_path: Path) -> None:
    path = tmp_path / "x"
    path.write_bytes(build({"a": entry(shape=[2**60], offsets=(0, 2**62))}, bytes(8)))
    tracemalloc.start()
    with pytest.raises(FormatError, match="cut off"):
        read_safetensors(path, as_float32=True)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 100_000


@pytest.mark.parametrize(
    "array",
    [
        np.zeros(2, complex),
        np.zeros(2, object),
        np.zeros(2, "M8[s]"),
        np.zeros(2, "S3"),
        np.zeros(2, np.longdouble),
        [1.0, 2.0],
        1.0,
        None,
    ],
)
def test_arrays_that_the_format_cannot_hold_are_refused(tmp_path: Path, array: list[float] | np.ndarray) -> None:
    with pytest.raises(DTypeError, match="'w' must be an array of BOOL"):
        write_safetensors(tmp_path / "x", {"w": array})
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize(
    ("tensors", "metadata"),
    [
        ({"__metadata__": np.zeros(1)}, None),
        ({1: np.zeros(1)}, None),
        ({"\ud800": np.zeros(1)}, None),
        ({}, {"a": 1}),
        ({}, {1: "a"}),
        ({}, {"a": "\udc00"}),
    ],
)
def test_names_and_metadata_that_the_format_cannot_hold_are_refused(
    tmp_path: Path, tensors: dict[Any, Any], metadata: dict[Any, Any] | None
) -> None:
    with pytest.raises(FormatError):
        write_safetensors(tmp_path / "x", tensors, metadata)
    assert os.listdir(tmp_path) == []


def test_a_full_disk_leaves_the_old_weights(small_disk: Path) -> None:
    path = small_disk / "model.safetensors"
    write_safetensors(path, {"a": np.zeros(1000)})
    before = path.read_bytes()
    with pytest.raises(CheckpointError, match="disk is full"):
        write_safetensors(path, {"a": np.zeros(100_000)})
    assert path.read_bytes() == before
    assert os.listdir(small_disk) == ["model.safetensors"]


def test_a_header_of_nothing_but_lists_is_refused_before_it_fills_the_memory(tmp_path: Path) -> None:
    text = b'{"a":[' + b"[]," * 40_000 + b"[]]}"
    path = tmp_path / "lists.safetensors"
    path.write_bytes(len(text).to_bytes(8, "little") + text)
    tracemalloc.start()
    try:
        with pytest.raises(FormatError, match="an object and two lists for each tensor; got 40003 objects and lists"):
            read_safetensors(path)
        assert tracemalloc.get_traced_memory()[1] < 3 * len(text)
    finally:
        tracemalloc.stop()


def test_brackets_in_names_and_metadata_are_no_lists(tmp_path: Path) -> None:
    path = tmp_path / "names.safetensors"
    write_safetensors(path, {"[[[{{{": np.ones(2, np.float32)}, {"note": "[" * 9_000})
    assert list(read_safetensors(path)) == ["[[[{{{"]


@pytest.mark.parametrize("before", ["", " ", "\n", "\t\r "])
@pytest.mark.parametrize("after", ["", "  ", "\r\n"])
@pytest.mark.parametrize("metadata", ["", '"__metadata__":null,'])
def test_white_space_around_the_header_and_null_metadata_are_accepted(
    tmp_path: Path, before: str, after: str, metadata: str
) -> None:
    header = before + "{" + metadata + '"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}' + after
    path = tmp_path / "x"
    path.write_bytes(build(header.encode(), np.float32(1.5).tobytes()))
    assert read_header(path).metadata == {}
    assert read_safetensors(path)["a"].tolist() == [1.5]


@pytest.mark.parametrize("header", [b" \n{%s}\t\r ", b'{"__metadata__":null,%s}'])
def test_the_reference_reads_them_too(tmp_path: Path, header: bytes) -> None:
    reference = pytest.importorskip("safetensors.numpy")
    path = tmp_path / "x"
    path.write_bytes(build(header % b'"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}', np.float32(1.5).tobytes()))
    assert reference.load_file(path)["a"].tolist() == read_safetensors(path)["a"].tolist() == [1.5]
