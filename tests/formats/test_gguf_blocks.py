"""Blocks of every type: recorded weights of the `gguf` package, and that package itself where it is installed."""

from __future__ import annotations

import zlib
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinygrad_llm.formats.gguf_blocks import FUNCTIONS, LAYOUTS, dequantize, unpack, weights_per_block

KINDS = list(LAYOUTS)
SPECIAL = [0x0000, 0x8000, 0x0001, 0x8001, 0x3C00, 0x7BFF, 0xFBFF, 0x7C00, 0xFC00, 0x7E00, 0xFE01]  # halves


def patterned(kind: str, count: int = 5) -> Any:
    """Blocks with every byte value, and with scales that are ordinary numbers."""
    layout = np.dtype(LAYOUTS[kind])
    data = (np.arange(count * layout.itemsize) * 37 + 11).astype(np.uint8)
    blocks = data.view(layout).copy()
    for field, scale in (("d", 0.0417), ("m", -0.31), ("dmin", 0.013)):
        if field in layout.names:
            blocks[field] = scale * (1 + np.arange(count))
    return blocks


# From gguf 0.19: the CRC-32 of the weights of the blocks above, and the first three.
RECORDED = {
    "F32": (542919219, [2.76733415e35, 5.76282739e-30, -3.4334586e-18]),
    "F16": (4025848814, [0.126342773, 51872.0, -4.62109375]),
    "BF16": (584594891, [5.05679054e-10, 2.76489808e35, -1272.0]),
    "Q4_0": (4096866136, [-0.125061035, 0.0833740234, 0.291809082]),
    "Q4_1": (3594043778, [0.315246582, -0.143310547, 0.0651245117]),
    "Q5_0": (304817087, [0.375183105, -0.0833740234, 0.125061035]),
    "Q5_1": (2756459051, [0.481994629, 0.690429688, 0.898864746]),
    "Q8_0": (3477036406, [3.543396, 5.08581543, -4.04364014]),
    "Q2_K": (2312808445, [1.37567139, 0.0, 0.458557129]),
    "Q3_K": (1773791668, [3.37664795, -4.50219727, 1.12554932]),
    "Q4_K": (3021175157, [13.5522461, -0.663024902, 5.79846191]),
    "Q5_K": (3473640723, [34.2290039, -0.663024902, 26.4752197]),
    "Q6_K": (2118328665, [-59.6541138, 70.7011719, 24.3035278]),
}


@pytest.mark.parametrize("kind", KINDS)
def test_the_weights_are_those_that_the_gguf_package_gave(kind: str) -> None:
    weights = dequantize(patterned(kind), kind)
    checksum, first = RECORDED[kind]
    assert weights[:3].tolist() == pytest.approx(first, rel=1e-7)
    assert zlib.crc32(weights.tobytes()) == checksum


@pytest.mark.parametrize("kind", KINDS)
@given(seed=st.integers(0, 2**32 - 1), special=st.lists(st.sampled_from(SPECIAL), min_size=1, max_size=4))
def test_random_blocks_equal_the_gguf_package_to_the_bit(kind: str, seed: int, special: list[int]) -> None:
    gguf = pytest.importorskip("gguf")
    layout = np.dtype(LAYOUTS[kind])
    blocks = np.frombuffer(np.random.default_rng(seed).bytes(9 * layout.itemsize), layout).copy()
    for field in {"d", "m", "dmin"} & set(layout.names or ()):
        blocks[field][: len(special)] = np.array(special, np.uint16).view(np.float16)
    raw = blocks.view(np.uint8).reshape(9, layout.itemsize)
    with np.errstate(all="ignore"):
        theirs = gguf.dequantize(raw, gguf.GGMLQuantizationType[kind]).reshape(-1)
    assert dequantize(blocks, kind).view(np.uint32).tolist() == theirs.view(np.uint32).tolist()


@pytest.mark.parametrize("kind", KINDS)
def test_sizes_are_those_of_the_gguf_package(kind: str) -> None:
    gguf = pytest.importorskip("gguf")
    expected = gguf.GGML_QUANT_SIZES[gguf.GGMLQuantizationType[kind]]
    assert (weights_per_block(kind), np.dtype(LAYOUTS[kind]).itemsize) == expected


@pytest.mark.parametrize("kind", KINDS)
def test_many_blocks_are_read_as_one_by_one(kind: str) -> None:
    blocks = np.resize(patterned(kind), 70_000 // weights_per_block(kind) + 3)
    single = [FUNCTIONS[kind](blocks[i : i + 1])[0] for i in (0, 1, len(blocks) - 1)]
    weights = dequantize(blocks, kind).reshape(len(blocks), -1)
    assert np.array_equal(weights[[0, 1, -1]], single)


def test_no_blocks_have_no_weights() -> None:
    for kind in KINDS:
        assert dequantize(np.zeros(0, LAYOUTS[kind]), kind).shape == (0,)


def test_packed_bits_are_the_sum_of_their_integers() -> None:
    packed = np.arange(256, dtype=np.uint8).reshape(2, 128)
    for bits in (1, 2, 4):
        fields = unpack(packed, bits, 1).reshape(2, 128, -1).astype(int)
        assert np.array_equal((fields << np.arange(0, 8, bits)).sum(-1), packed)
        wide = unpack(packed, bits, 64).reshape(2, 2, -1, 64)
        assert np.array_equal(wide.swapaxes(2, 3).reshape(2, -1), unpack(packed, bits, 1))


def test_a_damaged_scale_gives_no_warning() -> None:
    blocks = patterned("Q4_1")
    blocks["d"], blocks["m"] = np.inf, -np.inf
    assert np.isnan(dequantize(blocks, "Q4_1")).all()
