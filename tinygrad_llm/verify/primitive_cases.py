"""The inputs on which each primitive's gradient is verified: 0-d, broadcast and empty shapes, away from kinks."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from tinygrad_llm.arrays import Array
from tinygrad_llm.primitives import cat, stack, where
from tinygrad_llm.tensor import Tensor
from tinygrad_llm.verify.op_cases import normal


class PrimitiveCase(NamedTuple):
    """One call, `function(*inputs)`, on Tensors of these arrays, all of which require a gradient."""

    function: Callable[..., Tensor | Sequence[Tensor]]
    inputs: tuple[Array, ...]


NO_GRADIENT = {"argmax"}  # its outputs are indices


def _distinct(*shape: int) -> Array:
    """Numbers that differ by 1/8 or more, and by 1/16 or more from 0: maximum, abs and relu have their kinks there."""
    count = int(np.prod(shape))
    numbers = (np.arange(count) - count // 2) / 8 + 1 / 16
    return numbers[np.argsort(normal(count), kind="stable")].reshape(shape)


def _above_zero(*shape: int) -> Array:
    return np.abs(_distinct(*shape)) + 0.25


def _case(function: Callable[..., Any], *inputs: Array) -> PrimitiveCase:
    return PrimitiveCase(function, inputs)


def _two(function: Callable[..., Any], numbers: Callable[..., Array] = _distinct) -> list[PrimitiveCase]:
    """Two operands: 0-d, of equal shapes, broadcast in each direction, and empty."""
    shapes: list[tuple[tuple[int, ...], tuple[int, ...]]] = [
        ((), ()),
        ((3, 4), (3, 4)),
        ((3, 4), (4,)),
        ((3, 1), (2, 1, 4)),
        ((), (2, 3)),
        ((0, 3), (1, 3)),
    ]
    return [_case(function, numbers(*a), numbers(*b) + 1 / 32) for a, b in shapes]


def _one(function: Callable[..., Any], numbers: Callable[..., Array] = _distinct) -> list[PrimitiveCase]:
    return [_case(function, numbers(*shape)) for shape in ((), (5,), (2, 3, 4), (0, 3))]


def _reduced(function: Callable[..., Any]) -> list[PrimitiveCase]:
    return [
        _case(lambda x, a=axis, k=keep: function(x, axis=a, keepdims=k), _distinct(2, 3, 4))
        for axis in (None, 0, -1, (0, 2))
        for keep in (False, True)
    ]


_CONDITION = (np.arange(12) % 3 == 0).reshape(3, 4)

PRIMITIVES: dict[str, list[PrimitiveCase]] = {
    "add": _two(Tensor.add),
    "sub": _two(Tensor.sub),
    "mul": _two(Tensor.mul),
    "div": _two(Tensor.div, _above_zero),
    "neg": _one(Tensor.neg),
    "pow": [
        _case(lambda x: x.pow(3), _distinct(2, 3)),
        _case(lambda x: x.pow(-0.5), _above_zero(2, 3)),
        _case(Tensor.pow, _above_zero(2, 3), _distinct(3)),
    ],
    "matmul": [
        _case(Tensor.matmul, normal(*a), normal(*b))
        for a, b in (
            ((3,), (3,)),
            ((2, 3), (3, 4)),
            ((3,), (3, 4)),
            ((2, 3), (3,)),
            ((5, 2, 3), (3, 4)),
            ((5, 1, 2, 3), (2, 3, 4)),
            ((0, 3), (3, 2)),
        )
    ],
    "exp": _one(Tensor.exp),
    "log": _one(Tensor.log, _above_zero),
    "sqrt": _one(Tensor.sqrt, _above_zero),
    "tanh": _one(Tensor.tanh),
    "sigmoid": _one(Tensor.sigmoid),
    "relu": _one(Tensor.relu),
    "abs": _one(Tensor.abs),
    "erf": _one(Tensor.erf),
    "maximum": _two(Tensor.maximum),
    "minimum": _two(Tensor.minimum),
    "clip": [_case(lambda x: x.clip(-0.5, 0.5), _distinct(3, 4)), _case(lambda x: x.clip(low=0.0), _distinct(5))],
    "where": [
        _case(lambda x, y: where(_CONDITION, x, y), normal(3, 4), normal(4)),
        _case(lambda x, y: where(_CONDITION, x, y), normal(), normal(3, 1)),
    ],
    "masked_fill": [
        _case(lambda x: x.masked_fill(_CONDITION, 2.0), normal(3, 4)),
        _case(lambda x: x.masked_fill(_CONDITION, 0.0), normal(2, 3, 4)),
    ],
    "getitem": [
        _case(lambda x: x[1], normal(3, 4)),
        _case(lambda x: x[:, ::-2], normal(3, 4)),
        _case(lambda x: x[[0, 2, 0, 0]], normal(3, 4)),
        _case(lambda x: x[_CONDITION], normal(3, 4)),
        _case(lambda x: x[None, ..., [1, 1]], normal(2, 3)),
    ],
    "tril": [_case(Tensor.tril, normal(2, 3, 4)), _case(lambda x: x.tril(-1), normal(3, 3))],
    "triu": [_case(Tensor.triu, normal(2, 3, 4)), _case(lambda x: x.triu(1), normal(3, 3))],
    "cat": [_case(lambda x, y: cat([x, y, x], axis=1), normal(2, 3), normal(2, 1))],
    "stack": [_case(lambda x, y: stack([x, y, x], axis=-1), normal(2, 3), normal(2, 3) + 1)],
    "split": [_case(lambda x: x.split(2, axis=1), normal(2, 5)), _case(lambda x: x.split([1, 3]), normal(4, 2))],
    "pad": [_case(lambda x: x.pad([(1, 0), (0, 2)], 3.0), normal(2, 3))],
    "sum": _reduced(Tensor.sum),
    "mean": _reduced(Tensor.mean),
    "var": _reduced(Tensor.var),
    "max": _reduced(Tensor.max),
    "min": _reduced(Tensor.min),
    "logsumexp": _reduced(Tensor.logsumexp),
    "cumsum": [_case(lambda x, a=axis: x.cumsum(a), normal(2, 3, 4)) for axis in (0, 1, -1)],
    "reshape": [_case(lambda x: x.reshape(4, -1), normal(2, 3, 2))],
    "permute": [_case(lambda x: x.permute(2, 0, 1), normal(2, 3, 4))],
    "transpose": [_case(lambda x: x.transpose(0, -1), normal(2, 3, 4))],
    "squeeze": [_case(Tensor.squeeze, normal(1, 3, 1)), _case(lambda x: x.squeeze(0), normal(1, 3, 1))],
    "unsqueeze": [_case(lambda x: x.unsqueeze(1), normal(2, 3))],
    "broadcast_to": [
        _case(lambda x: x.broadcast_to((4, 2, 3)), normal(2, 1)),
        _case(lambda x: x.broadcast_to((2, 2)), normal()),
    ],
    "astype": [_case(lambda x: x.astype(np.float64), normal(2, 3))],
}
