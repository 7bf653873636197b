"""Answers: a JSON head and packed arrays."""

import json
import struct

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from tinygrad_llm.errors import FormatError
from tinygrad_llm.lab.packing import DTYPES, pack, quantize, unpack


@given(
    st.sampled_from(sorted(DTYPES)).flatmap(
        lambda dtype: arrays.arrays(dtype, arrays.array_shapes(min_dims=0, min_side=0))
    )
)
def test_what_is_packed_comes_back(x: np.ndarray) -> None:
    head = unpack(pack({"before": 1, "deep": [{"x": x}, x.astype(x.dtype.newbyteorder(">"))], "after": "é"}))
    assert (head["before"], head["after"]) == (1, "é")
    for found in (head["deep"][0]["x"], head["deep"][1]):
        assert found.dtype == x.dtype and found.shape == x.shape
        assert np.array_equal(found, x, equal_nan=x.dtype.kind == "f")


def test_arrays_are_aligned_in_the_answer() -> None:
    raw = pack({"a": np.zeros(3, np.uint8), "b": np.ones(2)})
    (length,) = struct.unpack("<I", raw[4:8])
    assert length % 8 == 0
    head = json.loads(raw[8 : 8 + length])
    assert [one["$array"][0] % 8 for one in head.values()] == [0, 0]


@given(arrays.arrays(np.float32, 7, elements=st.floats(-1e6, 1e6, width=32)))
def test_quantised_numbers_are_within_half_a_step(x: np.ndarray) -> None:
    found = quantize(x, "i2")
    assert np.abs(unpack(pack([found]))[0] - x).max() <= 0.5001 * found.scale


def test_what_json_does_not_have_is_null() -> None:
    assert unpack(pack({"x": float("nan"), "y": [np.float32("inf")], "z": np.int64(3)})) == {
        "x": None,
        "y": [None],
        "z": 3,
    }
    assert quantize(np.array([np.nan, 1.0, np.inf]), "i1").values.tolist() == [0, 127, 0]
    assert unpack(pack("\ud800")) == "?"


def test_refusals() -> None:
    with pytest.raises(FormatError, match="arrays must be of"):
        pack(np.zeros(2, np.complex128))
    with pytest.raises(FormatError, match="begins with"):
        unpack(b"JSON")
