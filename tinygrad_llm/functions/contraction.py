"""Sums of products: Einstein's notation, and the outer product."""

from __future__ import annotations

import string

import numpy as np

from tinygrad_llm.arrays import Array
from tinygrad_llm.errors import ShapeError
from tinygrad_llm.graph import Gradients, TensorLike, record_operation
from tinygrad_llm.primitives.operands import as_tensor, operands_of_one_dtype, unbroadcast
from tinygrad_llm.tensor import Tensor


def einsum(subscripts: str, *tensors: TensorLike) -> Tensor:
    """The sum over every letter that the output does not name, of the product of all operands (Einstein's notation).

        "ij,jk->ik" is the matrix product,  "bhqd,bhkd->bhqk" the scores of attention
        dA = einsum(output, the other operands -> A's letters)

    An axis whose letter occurs in A only is summed, so the gradient is constant along it. A letter that A repeats
    ("ii") reads the diagonal, and only the diagonal has a gradient. Without "->" the output names each letter that
    occurs once, in alphabetical order. "..." means any number of axes, which broadcast.

    >>> import numpy as np
    >>> einsum("ij,j->i", np.array([[1.0, 2.0], [3.0, 4.0]]), np.array([1.0, 10.0])).data
    array([21., 43.])

    Shapes: one group of letters per operand, one letter per axis -> the letters after "->"
    Saves:  all operands
    Raises: ShapeError if letters and shapes do not fit
    """
    parts = [as_tensor(one) for one in tensors]
    if not parts:
        raise ShapeError("einsum: at least one operand is needed; got none")
    for i, part in enumerate(parts[1:], 1):
        parts[0], parts[i] = operands_of_one_dtype(parts[0], part)
    parts = [operands_of_one_dtype(part, parts[0])[0] for part in parts]
    letters, output = _explicit(subscripts, [part.shape for part in parts])
    whole = ",".join(letters) + "->" + output
    arrays = [part.data for part in parts]
    try:
        z = np.einsum(whole, *arrays, optimize=len(arrays) > 1)
    except ValueError as error:
        shapes = ", ".join(str(part.shape) for part in parts)
        raise ShapeError(f"einsum: {subscripts!r} must fit the operands' shapes {shapes}; {error}") from None
    wanted = [part.requires_grad for part in parts]

    def backward(dz: Array) -> Gradients:
        return [_einsum_gradient(dz, output, letters, arrays, i) if wants else None for i, wants in enumerate(wanted)]

    return record_operation(np.array(z), parts, backward)  # a copy: "ii->i" gives a view that cannot be written


def _einsum_gradient(dz: Array, output: str, letters: list[str], arrays: list[Array], i: int) -> Array:
    own = "".join(dict.fromkeys(letters[i]))  # each once
    others = [(group, array) for j, (group, array) in enumerate(zip(letters, arrays, strict=True)) if j != i]
    elsewhere = set(output).union(*(group for group, _ in others))
    found = "".join(letter for letter in own if letter in elsewhere)
    groups = ",".join([output, *(group for group, _ in others)])
    gradient = np.einsum(f"{groups}->{found}", dz, *(array for _, array in others), optimize=bool(others))
    sizes = [arrays[i].shape[letters[i].index(letter)] for letter in own]
    spread = np.asarray(gradient).reshape(
        [gradient.shape[found.index(letter)] if letter in found else 1 for letter in own]
    )
    reached = [max(one, size) if size else 0 for one, size in zip(spread.shape, sizes, strict=True)]
    on_diagonal = unbroadcast(np.broadcast_to(spread, reached), tuple(sizes))
    if own == letters[i]:
        return on_diagonal
    whole = np.zeros(arrays[i].shape, on_diagonal.dtype)
    np.einsum(f"{letters[i]}->{own}", whole)[...] = on_diagonal  # a view of the diagonal
    return whole


def _explicit(subscripts: str, shapes: list[tuple[int, ...]]) -> tuple[list[str], str]:
    """The letters of each operand and of the output, with every "..." and a missing output spelled out."""
    text = subscripts.replace(" ", "")
    given, arrow, output = text.partition("->")
    groups = given.split(",")
    allowed = string.ascii_letters + "."
    malformed = any(c not in allowed for c in given.replace(",", "") + output)
    if malformed or any(one.count(".") not in (0, 3) or one.count("...") != one.count(".") // 3 for one in groups):
        raise ShapeError(f'einsum: subscripts are letters, ",", "..." and one "->"; got {subscripts!r}')
    if len(groups) != len(shapes):
        raise ShapeError(f"einsum: one group of letters per operand is needed, {len(shapes)}; got {subscripts!r}")
    counts = []
    for group, shape in zip(groups, shapes, strict=True):
        named = len(group.replace("...", ""))
        if named > len(shape) or ("..." not in group and named != len(shape)):
            raise ShapeError(f"einsum: {group!r} must name each axis of its operand once; got shape {shape}")
        counts.append(len(shape) - named if "..." in group else 0)
    free = [letter for letter in string.ascii_letters if letter not in text]
    if max(counts) > len(free):
        raise ShapeError(f"einsum: at most 52 letters can be used; got {subscripts!r} for {max(counts)} more axes")
    dots = "".join(free[: max(counts)])
    letters = [group.replace("...", dots[len(dots) - count :]) for group, count in zip(groups, counts, strict=True)]
    if not arrow:
        all_letters = "".join(groups).replace(".", "")
        return letters, dots + "".join(sorted(one for one in set(all_letters) if all_letters.count(one) == 1))
    spelled = output.replace("...", dots)
    if len(set(spelled)) != len(spelled) or not set(spelled) <= set("".join(letters)) or "." in spelled:
        raise ShapeError(f"einsum: the output must name letters of the operands, each once; got {output!r}")
    return letters, spelled


def outer(x: TensorLike, y: TensorLike) -> Tensor:
    """z[i, j] = x[i] y[j];  dx = dz y, dy = dzᵀ x.

    Shapes: x (n,), y (m,) -> (n, m)
    Saves:  x, y
    Raises: ShapeError if either is not a vector
    """
    x, y = operands_of_one_dtype(x, y)
    if x.ndim != 1 or y.ndim != 1:
        raise ShapeError(f"outer: two vectors are needed; got shapes {x.shape} and {y.shape}")
    a, b = x.data, y.data
    wants_dx, wants_dy = x.requires_grad, y.requires_grad

    def backward(dz: Array) -> Gradients:
        return dz @ b if wants_dx else None, dz.T @ a if wants_dy else None

    return record_operation(a[:, None] * b, (x, y), backward)
