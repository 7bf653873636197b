"""How the tensors of a GGUF file hold their numbers: blocks of small integers with a scale.

A weight in 4 bits has one of 16 values. To make good use of them, a row of weights is cut into blocks of 32, and each
block has a scale d of its own: a weight is x = d · (q − 8), where q is an integer from 0 to 15. The simplest such type,
Q4_0, takes 18 bytes for 32 weights, which is 4.5 bits per weight:

    byte 0      2                                               18
         +------+----------+----------+-- ... --+----------------+
         |  d   | q0   q16 | q1   q17 |         | q15        q31 |
         +------+----------+----------+-- ... --+----------------+
          float16  low bits first: q0 is `byte & 15`, q16 is `byte >> 4`

A type whose name ends in _0 has only a scale, so its values lie symmetrically around 0. One that ends in _1 also has
an offset m, x = d · q + m, for blocks whose weights do not. Eight bits do not divide by 5: a Q5 type keeps the fifth
bits of its 32 integers in 4 bytes of their own.

The K types spend fewer bits on scales. A super-block of 256 weights has one float16 d, and each of its 8 or 16
sub-blocks a small integer `scale`, so that x = (d · scale) · q. Q2_K, Q4_K and Q5_K also have one float16 dmin and
an integer `min` for each sub-block, and subtract dmin · min.

`LAYOUTS` has the bytes of every type, in the order in which they are in the file. Each type has a function that takes
blocks of that layout (an array of records) and returns their weights, a row for each block. All products are exact
in float32; the sum with an offset is rounded once. The formats are ggml's (https://github.com/ggml-org/ggml).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

Blocks: TypeAlias = NDArray[Any]  # (n,) records with the fields of one layout
Weights: TypeAlias = NDArray[np.float32]  # (n, weights of a block)

# Field, type of a number, count of numbers. `low` and `high` are the low and the high bits of the integers q.
LAYOUTS: dict[str, list[Any]] = {
    "F32": [("x", "<f4")],
    "F16": [("x", "<f2")],
    "BF16": [("x", "<u2")],
    "Q4_0": [("d", "<f2"), ("low", "u1", 16)],
    "Q4_1": [("d", "<f2"), ("m", "<f2"), ("low", "u1", 16)],
    "Q5_0": [("d", "<f2"), ("high", "u1", 4), ("low", "u1", 16)],
    "Q5_1": [("d", "<f2"), ("m", "<f2"), ("high", "u1", 4), ("low", "u1", 16)],
    "Q8_0": [("d", "<f2"), ("q", "i1", 32)],
    "Q2_K": [("scales", "u1", 16), ("low", "u1", 64), ("d", "<f2"), ("dmin", "<f2")],
    "Q3_K": [("high", "u1", 32), ("low", "u1", 64), ("scales", "u1", 12), ("d", "<f2")],
    "Q4_K": [("d", "<f2"), ("dmin", "<f2"), ("scales", "u1", 12), ("low", "u1", 128)],
    "Q5_K": [("d", "<f2"), ("dmin", "<f2"), ("scales", "u1", 12), ("high", "u1", 32), ("low", "u1", 128)],
    "Q6_K": [("low", "u1", 128), ("high", "u1", 64), ("scales", "i1", 16), ("d", "<f2")],
}


def unpack(packed: NDArray[Any], bits: int, width: int) -> NDArray[np.uint8]:
    """The integers of `bits` bits in packed bytes.

    Of each `width` bytes in a row, the lowest bits of all of them come first, then the next bits of all of them.

    >>> unpack(np.array([[0x21, 0x43]], np.uint8), bits=4, width=2)
    array([[1, 3, 2, 4]], dtype=uint8)
    >>> unpack(np.array([[0x21, 0x43]], np.uint8), bits=4, width=1)
    array([[1, 2, 3, 4]], dtype=uint8)

    Shapes: (n, k) bytes -> (n, k · 8 / bits)
    """
    n, k = packed.shape
    shifts = np.arange(0, 8, bits, dtype=np.uint8)
    integers = packed.reshape(n, k // width, 1, width) >> shifts[:, None]
    integers &= np.uint8((1 << bits) - 1)
    return integers.reshape(n, k * len(shifts))


# One number.


def f32(b: Blocks) -> Weights:
    """A float32 is itself."""
    return b["x"][:, None]


def f16(b: Blocks) -> Weights:
    """Every float16 is a float32."""
    return b["x"][:, None].astype(np.float32)


def bf16(b: Blocks) -> Weights:
    """A bfloat16 is the upper half of a float32: sign, 8 bits of exponent, and the first 7 bits of the fraction."""
    return (b["x"][:, None].astype(np.uint32) << 16).view(np.float32)


# 32 weights in a block.


def q4_0(b: Blocks) -> Weights:
    """x = d · (q − 8)"""
    return _scaled(unpack(b["low"], 4, 16), b["d"], center=8)


def q4_1(b: Blocks) -> Weights:
    """x = d · q + m"""
    return _scaled(unpack(b["low"], 4, 16), b["d"], plus=b["m"])


def q5_0(b: Blocks) -> Weights:
    """x = d · (q − 16); the fifth bits are in the order of the weights."""
    return _scaled(unpack(b["low"], 4, 16) | unpack(b["high"], 1, 1) << 4, b["d"], center=16)


def q5_1(b: Blocks) -> Weights:
    """x = d · q + m; the fifth bits are in the order of the weights."""
    return _scaled(unpack(b["low"], 4, 16) | unpack(b["high"], 1, 1) << 4, b["d"], plus=b["m"])


def q8_0(b: Blocks) -> Weights:
    """x = d · q with q from −128 to 127"""
    return _scaled(b["q"], b["d"])


# 256 weights in a super-block. A scale or a min has 4, 6 or 8 bits.


def q2_k(b: Blocks) -> Weights:
    """x = (d · scale) · q − dmin · min, for 16 sub-blocks; a byte holds the scale and the min of one, 4 bits each."""
    scale, minimum = b["scales"] & 15, b["scales"] >> 4
    return _scaled(unpack(b["low"], 2, 32), _times(b["d"], scale), less=_times(b["dmin"], minimum))


def q3_k(b: Blocks) -> Weights:
    """x = (d · (scale − 32)) · (q − 4), for 16 sub-blocks; 8 bytes hold the low 4 bits of the scales, 4 the high 2."""
    scale = unpack(b["scales"][:, :8], 4, 8) | unpack(b["scales"][:, 8:], 2, 4) << 4
    q = unpack(b["low"], 2, 32) | unpack(b["high"], 1, 32) << 2
    return _scaled(q, _times(b["d"], scale.astype(np.int8) - np.int8(32)), center=4)


def q4_k(b: Blocks) -> Weights:
    """x = (d · scale) · q − dmin · min, for 8 sub-blocks"""
    scale, minimum = _scales_and_mins(b["scales"])
    return _scaled(unpack(b["low"], 4, 32), _times(b["d"], scale), less=_times(b["dmin"], minimum))


def q5_k(b: Blocks) -> Weights:
    """x = (d · scale) · q − dmin · min, for 8 sub-blocks; the fifth bits are one bit of 32 bytes for each sub-block."""
    scale, minimum = _scales_and_mins(b["scales"])
    q = unpack(b["low"], 4, 32) | unpack(b["high"], 1, 32) << 4
    return _scaled(q, _times(b["d"], scale), less=_times(b["dmin"], minimum))


def q6_k(b: Blocks) -> Weights:
    """x = (d · scale) · (q − 32), for 16 sub-blocks with scales from −128 to 127"""
    q = unpack(b["low"], 4, 64) | unpack(b["high"], 2, 32) << 4
    return _scaled(q, _times(b["d"], b["scales"]), center=32)


def _scales_and_mins(packed: NDArray[Any]) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """The 8 scales and 8 mins of Q4_K and Q5_K, 6 bits each, in 12 bytes.

    The low 6 bits of bytes 0 to 3 and 4 to 7 are the first 4 scales and mins. Bytes 8 to 11 have the low 4 bits of the
    others, scale below min, whose high 2 bits are the bits that the first 8 bytes left over.
    """
    first, high = packed[:, :8] & 63, packed[:, :8] >> 6 << 4
    last = unpack(packed[:, 8:], 4, 4) | high  # 4 scales, 4 mins
    return np.hstack([first[:, :4], last[:, :4]]), np.hstack([first[:, 4:], last[:, 4:]])


def _times(d: NDArray[Any], scales: NDArray[Any]) -> Weights:
    """The scales of the sub-blocks of each super-block. Shapes: (n,), (n, s) -> (n, s)"""
    return d[:, None].astype(np.float32) * scales.astype(np.float32)


def _scaled(
    q: NDArray[Any],
    scale: NDArray[Any],
    center: int = 0,
    plus: NDArray[Any] | None = None,
    less: NDArray[Any] | None = None,
) -> Weights:
    """scale · (q − center) + plus − less, where each sub-block of a block has its own scale, `plus` and `less`.

    Shapes: q (n, w), the others (n,) or (n, s) -> (n, w)
    """
    x = q.astype(np.float32)
    if center:
        x -= np.float32(center)
    sub_blocks = x.reshape(len(q), scale.size // len(q), -1)
    sub_blocks *= _for_each(scale)
    if plus is not None:
        sub_blocks += _for_each(plus)
    if less is not None:
        sub_blocks -= _for_each(less)
    return x


def _for_each(numbers: NDArray[Any]) -> Weights:
    """One number for all weights of a sub-block. Shapes: (n,) or (n, s) -> (n, s, 1)"""
    return numbers.reshape(len(numbers), -1, 1).astype(np.float32)


FUNCTIONS: dict[str, Callable[[Blocks], Weights]] = {
    function.__name__.upper(): function
    for function in (f32, f16, bf16, q4_0, q4_1, q5_0, q5_1, q8_0, q2_k, q3_k, q4_k, q5_k, q6_k)
}
BYTES_AT_ONCE = 1 << 18  # of weights that are made at once: with all that lies between, they stay in the cache


def weights_per_block(kind: str) -> int:
    """How many weights a block of this type holds."""
    return 256 if kind.endswith("_K") else 32 if kind.startswith("Q") else 1


def dequantize(blocks: Blocks, kind: str) -> NDArray[np.float32]:
    """The weights of blocks of one type, one after the other. Shapes: (n,) records -> (n · weights of a block,)"""
    width = weights_per_block(kind)
    weights = np.empty((len(blocks), width), np.float32)
    step = BYTES_AT_ONCE // (4 * width)
    with np.errstate(all="ignore"):  # a damaged scale may be infinite; what it gives is NaN, as elsewhere
        for start in range(0, len(blocks), step):
            weights[start : start + step] = FUNCTIONS[kind](blocks[start : start + step])
    return weights.reshape(-1)
