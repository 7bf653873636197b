"""What Hypothesis tries on every operation: shapes 0-d, empty and broadcast on purpose, numbers away from kinks.

And `check_op`, the four questions every differentiable operation is asked.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from tinygrad_llm import Tensor
from tinygrad_llm.gradcheck import gradcheck

Array = np.ndarray

shapes = npst.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=3)
filled_shapes = npst.array_shapes(min_dims=0, max_dims=3, min_side=1, max_side=3)
shapes_with_axes = npst.array_shapes(min_dims=1, max_dims=3, min_side=0, max_side=3)

# k/8 + 1/16: never an integer, so never nearer than 1/16 to a kink at 0 or at another whole number.
tame = st.integers(-20, 19).map(lambda k: k / 8 + 1 / 16)
positive = st.integers(2, 24).map(lambda k: k / 8)
distinct = st.integers(-2000, 2000).map(lambda k: k / 512)


def arrays(shape: Any, elements: st.SearchStrategy[float] = tame, unique: bool = False) -> st.SearchStrategy[Array]:
    return npst.arrays(np.float64, shape, elements=elements, unique=unique)


@st.composite
def broadcast_pairs(draw: st.DrawFn, elements: st.SearchStrategy[float] = tame) -> tuple[Array, Array]:
    """Two arrays whose shapes broadcast, each possibly 0-d, empty or stretched."""
    both = draw(npst.mutually_broadcastable_shapes(num_shapes=2, max_dims=3, min_side=0, max_side=3)).input_shapes
    return draw(arrays(both[0], elements)), draw(arrays(both[1], elements))


@st.composite
def arrays_with_axis(draw: st.DrawFn, shape: Any = shapes, unique: bool = False) -> tuple[Array, Any]:
    """An array, and what a reduction may be given as `axis`: None, one axis, or several, from either end."""
    x = draw(arrays(shape, distinct if unique else tame, unique))
    axes = npst.valid_tuple_axes(x.ndim)
    if not x.ndim:
        return x, draw(st.sampled_from([None, ()]))
    return x, draw(st.none() | st.integers(-x.ndim, x.ndim - 1) | axes)


def check_op(op: Callable[..., Any], reference: Callable[..., Any], *numbers: Array, rtol: float = 1e-13) -> None:
    """Value as NumPy's, float32 stays float32, gradients right, and nothing recorded where nothing is asked for."""
    expected = _each(reference(*numbers))
    for got, value in zip(_each(op(*map(Tensor, numbers))), expected, strict=True):
        np.testing.assert_allclose(got.data, value, rtol=rtol, atol=1e-14, strict=True)
        assert got.node is None
    single = [Tensor(x.astype(np.float32), requires_grad=True) for x in numbers]
    for result in _each(op(*single)):
        assert result.dtype == np.float32
        assert isinstance(result.data, np.ndarray)
        result.backward(np.ones(result.shape, np.float32))
    assert all(x.grad is None or (x.grad.dtype == np.float32 and x.grad.shape == x.shape) for x in single)
    assert gradcheck(op, [Tensor(x, requires_grad=True) for x in numbers]).ok


def _each(result: Any) -> Sequence[Any]:
    return result if isinstance(result, list | tuple) else (result,)
