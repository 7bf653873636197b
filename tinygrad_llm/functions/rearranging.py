"""The same elements in other places: repeated, expanded, in chunks, reversed, rolled, or only the diagonal."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tinygrad_llm.arrays import Array
from tinygrad_llm.errors import ConfigError, DTypeError, ShapeError
from tinygrad_llm.graph import Gradients, TensorLike, record_operation
from tinygrad_llm.primitives.operands import as_sizes, as_tensor, normalized_axes, normalized_axis
from tinygrad_llm.tensor import Tensor


def repeat_interleave(x: TensorLike, repeats: TensorLike, axis: int | None = None) -> Tensor:
    """Each element (slice along `axis`) `repeats` times in a row;  the gradient sums over the copies.

    `repeats` is one count, or one for each. Without `axis` x is flattened first.

    Shapes: x (..., n, ...) -> (..., Σ repeats, ...)
    Raises: ShapeError if there is not one count or n of them, ConfigError for a negative one
    """
    x = as_tensor(x)
    if axis is None:
        x, axis = x.reshape(-1), 0
    axis = normalized_axis("repeat_interleave", axis, x.ndim)
    counts = np.array(as_tensor(repeats).data)
    if counts.dtype.kind not in "iu":
        raise DTypeError(f"repeat_interleave: repeats must be integers; got {counts.dtype}")
    size = x.shape[axis]
    if counts.size == 1:
        counts = np.repeat(counts.reshape(-1), size)
    if counts.shape != (size,):
        raise ShapeError(f"repeat_interleave: one count or {size} of them are needed; got shape {counts.shape}")
    if (counts < 0).any():
        raise ConfigError(f"repeat_interleave: repeats must be at least 0; got {counts.min()}")
    source = np.repeat(np.arange(size), counts)
    shape, dtype = x.shape, x.dtype

    def backward(dz: Array) -> Gradients:
        dx = np.zeros(shape, dtype)
        np.add.at(np.moveaxis(dx, axis, 0), source, np.moveaxis(dz, axis, 0))
        return (dx,)

    return record_operation(x.data.take(source, axis), (x,), backward)


def expand(x: TensorLike, *sizes: int | Sequence[int]) -> Tensor:
    """x repeated along axes of size 1 and new leading axes; -1 keeps an axis;  the gradient sums over the copies.

    Shapes: x (...) -> sizes
    Raises: ShapeError if an axis is neither 1 nor of the size asked for
    """
    x = as_tensor(x)
    wanted = as_sizes("expand", sizes)
    added = len(wanted) - x.ndim
    if added < 0 or any(size < 0 and (size != -1 or i < added) for i, size in enumerate(wanted)):
        raise ShapeError(
            f"expand: one size for each axis of {x.shape}, after any new ones, is needed (-1 keeps an axis); "
            f"got {wanted}"
        )
    return x.broadcast_to([x.shape[i - added] if size == -1 else size for i, size in enumerate(wanted)])


def chunk(x: TensorLike, chunks: int, axis: int = 0) -> tuple[Tensor, ...]:
    """At most `chunks` pieces of equal size along `axis`; the last may be smaller.

    Shapes: x (..., n, ...) -> pieces (..., ⌈n / chunks⌉, ...)
    Raises: ConfigError unless chunks is at least 1, ShapeError if x has no such axis
    """
    x = as_tensor(x)
    if not isinstance(chunks, int | np.integer) or chunks < 1:
        raise ConfigError(f"chunk: chunks must be an integer of at least 1; got {chunks!r}")
    axis = normalized_axis("chunk", axis, x.ndim)
    size = x.shape[axis]
    return x.split(-(-size // int(chunks)) if size else [0] * int(chunks), axis)


def flip(x: TensorLike, axes: int | Sequence[int]) -> Tensor:
    """x with the order along `axes` reversed;  so is the gradient.

    Shapes: x (...) -> (...)
    Raises: ShapeError if x has no such axis
    """
    x = as_tensor(x)
    named = normalized_axes("flip", tuple(axes) if isinstance(axes, Sequence) else (axes,), x.ndim)

    def backward(dz: Array) -> Gradients:
        return (np.flip(dz, named),)

    return record_operation(np.flip(x.data, named), (x,), backward)


def roll(x: TensorLike, shifts: int | Sequence[int], axes: int | Sequence[int] | None = None) -> Tensor:
    """x moved by `shifts` places along `axes`; elements beyond the end continue at the start.  The gradient moves back.

    Without `axes` x is rolled as if it were flat.

    Shapes: x (...) -> (...)
    Raises: ShapeError unless there is one shift for each axis
    """
    x = as_tensor(x)
    moves = tuple(shifts) if isinstance(shifts, Sequence) else (shifts,)
    named = None if axes is None else tuple(axes) if isinstance(axes, Sequence) else (axes,)
    if len(moves) != (1 if named is None else len(named)):
        raise ShapeError(f"roll: one shift for each axis is needed; got shifts {shifts} and axes {axes}")
    along = None if named is None else tuple(normalized_axis("roll", axis, x.ndim) for axis in named)
    back = tuple(-move for move in moves)
    forward: int | tuple[int, ...] = moves[0] if along is None else moves
    backwards: int | tuple[int, ...] = back[0] if along is None else back

    def backward(dz: Array) -> Gradients:
        return (np.roll(dz, backwards, along),)

    return record_operation(np.roll(x.data, forward, along), (x,), backward)


def diagonal(x: TensorLike, offset: int = 0, axis1: int = 0, axis2: int = 1) -> Tensor:
    """The diagonal of the two axes named, as the last axis;  off the diagonal the gradient is 0.

    `offset` above 0 is a diagonal above the main one, below 0 one below it.

    Shapes: x (..., n, m) -> (..., length of the diagonal)
    Raises: ShapeError unless x has both axes, and they differ
    """
    x = as_tensor(x)
    first, second = normalized_axis("diagonal", axis1, x.ndim), normalized_axis("diagonal", axis2, x.ndim)
    if first == second:
        raise ShapeError(f"diagonal: two different axes are needed; got {axis1} and {axis2} for shape {x.shape}")
    length = max(0, min(x.shape[first] + min(offset, 0), x.shape[second] - max(offset, 0)))
    rows, columns = np.arange(length) + max(-offset, 0), np.arange(length) + max(offset, 0)
    shape, dtype = x.shape, x.dtype

    def backward(dz: Array) -> Gradients:
        dx = np.zeros(shape, dtype)
        np.moveaxis(dx, (first, second), (-2, -1))[..., rows, columns] = dz
        return (dx,)

    return record_operation(np.moveaxis(x.data, (first, second), (-2, -1))[..., rows, columns], (x,), backward)
