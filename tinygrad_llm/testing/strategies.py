"""Hypothesis strategies for inputs of differentiable functions: shapes, pairs that broadcast, values, special values.

0-d and empty shapes are drawn on purpose. Numbers keep away from kinks, where finite differences mix two slopes.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from tinygrad_llm.errors import MissingPackageError

try:
    from hypothesis import strategies as st
    from hypothesis.extra import numpy as npst
except ModuleNotFoundError as error:
    raise MissingPackageError(
        "tinygrad_llm.testing.strategies needs the package hypothesis; pip install 'tinygrad-llm[test]'"
    ) from error

Array = np.ndarray[Any, np.dtype[Any]]

shapes = npst.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=3)
filled_shapes = npst.array_shapes(min_dims=0, max_dims=3, min_side=1, max_side=3)
shapes_with_axes = npst.array_shapes(min_dims=1, max_dims=3, min_side=0, max_side=3)

# k/8 + 1/16 is at least 1/16 away from every integer, where functions such as relu and floor have kinks.
tame = st.integers(-20, 19).map(lambda k: k / 8 + 1 / 16)
positive = st.integers(2, 24).map(lambda k: k / 8)
probabilities = st.integers(1, 31).map(lambda k: k / 32)
distinct = st.integers(-2000, 2000).map(lambda k: k / 512)
special = st.sampled_from([0.0, -0.0, 1.0, -1.0, 1e-30, -1e30, 1e30, np.inf, -np.inf, np.nan])


def arrays(shape: Any = shapes, elements: st.SearchStrategy[float] = tame, unique: bool = False) -> Any:
    """Strategy: float64 arrays of `shape` (a shape or a strategy of shapes), of numbers away from kinks."""
    return npst.arrays(np.float64, shape, elements=elements, unique=unique)


@st.composite
def broadcast_pairs(draw: st.DrawFn, elements: st.SearchStrategy[float] = tame) -> tuple[Array, Array]:
    """Strategy: two arrays whose shapes broadcast, each possibly 0-d, empty or stretched."""
    both = draw(npst.mutually_broadcastable_shapes(num_shapes=2, max_dims=3, min_side=0, max_side=3)).input_shapes
    return draw(arrays(both[0], elements)), draw(arrays(both[1], elements))


@st.composite
def arrays_with_axis(draw: st.DrawFn, shape: Any = shapes, unique: bool = False) -> tuple[Array, Any]:
    """Strategy: an array, and the `axis` of a reduction: None, one axis or several, counted from either end."""
    x = draw(arrays(shape, distinct if unique else tame, unique))
    axes = npst.valid_tuple_axes(x.ndim)
    if not x.ndim:
        return x, draw(st.sampled_from([None, ()]))
    return x, draw(st.none() | st.integers(-x.ndim, x.ndim - 1) | axes)


@st.composite
def arrays_with_one_axis(
    draw: st.DrawFn, elements: st.SearchStrategy[float] = tame, unique: bool = False
) -> tuple[Array, int]:
    """Strategy: an array of at least one axis, and one of its axes, counted from either end."""
    x = draw(arrays(shapes_with_axes, elements, unique))
    return x, draw(st.integers(-x.ndim, x.ndim - 1))
