"""What each primitive is tried on when its gradient is proven: shapes 0-d, broadcast and empty, away from kinks."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from tinygrad_llm import primitives as p
from tinygrad_llm.tensor import Array, Tensor
from tinygrad_llm.verify.op_cases import normal


class PrimitiveCase(NamedTuple):
    """One call, `function(*inputs)`, of Tensors made of these arrays, all of which ask for a gradient."""

    function: Callable[..., Tensor | Sequence[Tensor]]
    inputs: tuple[Array, ...]


NO_GRADIENT = {"argmax", "logical_not", "setitem"}  # positions, truth values, and writing, have none


def _distinct(*shape: int) -> Array:
    """Numbers that are at least 1/8 apart from each other and from 0, where maximum, abs and relu have their kinks."""
    count = int(np.prod(shape))
    numbers = (np.arange(count) - count // 2) / 8 + 1 / 16
    return numbers[np.argsort(normal(count), kind="stable")].reshape(shape)


def _above_zero(*shape: int) -> Array:
    return np.abs(_distinct(*shape)) + 0.25


def _case(function: Callable[..., Any], *inputs: Array) -> PrimitiveCase:
    return PrimitiveCase(function, inputs)


def _two(function: Callable[..., Any], numbers: Callable[..., Array] = _distinct) -> list[PrimitiveCase]:
    """Two operands: equal shapes, each one stretched, a single number, and nothing."""
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
    "add": _two(p.add),
    "sub": _two(p.sub),
    "mul": _two(p.mul),
    "div": _two(p.div, _above_zero),
    "neg": _one(p.neg),
    "pow": [
        _case(lambda x: p.pow(x, 3), _distinct(2, 3)),
        _case(lambda x: p.pow(x, -0.5), _above_zero(2, 3)),
        _case(p.pow, _above_zero(2, 3), _distinct(3)),
    ],
    "matmul": [
        _case(p.matmul, normal(*a), normal(*b))
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
    "exp": _one(p.exp),
    "log": _one(p.log, _above_zero),
    "sqrt": _one(p.sqrt, _above_zero),
    "tanh": _one(p.tanh),
    "sigmoid": _one(p.sigmoid),
    "relu": _one(p.relu),
    "abs": _one(p.abs),
    "erf": _one(p.erf),
    "maximum": _two(p.maximum),
    "minimum": _two(p.minimum),
    "clip": [_case(lambda x: p.clip(x, -0.5, 0.5), _distinct(3, 4)), _case(lambda x: p.clip(x, low=0.0), _distinct(5))],
    "where": [
        _case(lambda x, y: p.where(_CONDITION, x, y), normal(3, 4), normal(4)),
        _case(lambda x, y: p.where(_CONDITION, x, y), normal(), normal(3, 1)),
    ],
    "masked_fill": [
        _case(lambda x: p.masked_fill(x, _CONDITION, 2.0), normal(3, 4)),
        _case(lambda x: p.masked_fill(x, _CONDITION, 0.0), normal(2, 3, 4)),
    ],
    "getitem": [
        _case(lambda x: x[1], normal(3, 4)),
        _case(lambda x: x[:, ::-2], normal(3, 4)),
        _case(lambda x: x[[0, 2, 0, 0]], normal(3, 4)),
        _case(lambda x: x[_CONDITION], normal(3, 4)),
        _case(lambda x: x[None, ..., [1, 1]], normal(2, 3)),
    ],
    "tril": [_case(p.tril, normal(2, 3, 4)), _case(lambda x: p.tril(x, -1), normal(3, 3))],
    "triu": [_case(p.triu, normal(2, 3, 4)), _case(lambda x: p.triu(x, 1), normal(3, 3))],
    "cat": [_case(lambda x, y: p.cat([x, y, x], axis=1), normal(2, 3), normal(2, 1))],
    "stack": [_case(lambda x, y: p.stack([x, y, x], axis=-1), normal(2, 3), normal(2, 3) + 1)],
    "split": [_case(lambda x: p.split(x, 2, axis=1), normal(2, 5)), _case(lambda x: p.split(x, [1, 3]), normal(4, 2))],
    "pad": [_case(lambda x: p.pad(x, [(1, 0), (0, 2)], 3.0), normal(2, 3))],
    "sum": _reduced(p.sum),
    "mean": _reduced(p.mean),
    "var": _reduced(p.var),
    "max_": _reduced(p.max_),
    "min_": _reduced(p.min_),
    "logsumexp": _reduced(p.logsumexp),
    "cumsum": [_case(lambda x, a=axis: p.cumsum(x, a), normal(2, 3, 4)) for axis in (0, 1, -1)],
    "reshape": [_case(lambda x: p.reshape(x, 4, -1), normal(2, 3, 2))],
    "permute": [_case(lambda x: p.permute(x, 2, 0, 1), normal(2, 3, 4))],
    "transpose": [_case(lambda x: p.transpose(x, 0, -1), normal(2, 3, 4))],
    "squeeze": [_case(p.squeeze, normal(1, 3, 1)), _case(lambda x: p.squeeze(x, 0), normal(1, 3, 1))],
    "unsqueeze": [_case(lambda x: p.unsqueeze(x, 1), normal(2, 3))],
    "broadcast_to": [
        _case(lambda x: p.broadcast_to(x, (4, 2, 3)), normal(2, 1)),
        _case(lambda x: p.broadcast_to(x, (2, 2)), normal()),
    ],
    "astype": [_case(lambda x: p.astype(x, np.float64), normal(2, 3))],
}
