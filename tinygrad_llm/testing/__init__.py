"""Property-based tests for differentiable functions: strategies that draw the inputs, and checks that examine the op.

A test by example tries the inputs that its author chose. A property-based test states what holds for *all* inputs,
and Hypothesis searches for a counterexample and shrinks it to a small one. This is a test of your own op, in ten
lines (`pip install 'tinygrad-llm[test]'`):

    import numpy as np
    from hypothesis import given
    from tinygrad_llm.testing import arrays, check_op
    from my_project import cube

    @given(arrays())
    def test_cube(x):
        check_op(cube, lambda x: x**3, x)

`arrays()` draws float64 arrays, 0-d and empty ones too. `check_op` checks that the value equals NumPy's, that
float32 stays float32, that strided arrays give the same result, and that the gradient agrees with finite
differences. demos/property_testing.py shows a wrong op, and how its counterexample shrinks.

    strategies    shapes, filled_shapes, shapes_with_axes, arrays, arrays_with_axis, arrays_with_one_axis,
                  broadcast_pairs; the elements tame (away from kinks), positive, probabilities, distinct, special
    checks        check_op = check_value + check_dtype + check_layout + check_gradient; check_broadcasting, check_error

The checks need NumPy alone, the strategies Hypothesis.
"""

from typing import TYPE_CHECKING

from tinygrad_llm.lazy import lazy_imports

if TYPE_CHECKING:
    from tinygrad_llm.testing.checks import (
        check_broadcasting,
        check_dtype,
        check_error,
        check_gradient,
        check_layout,
        check_op,
        check_value,
    )
    from tinygrad_llm.testing.strategies import (
        arrays,
        arrays_with_axis,
        arrays_with_one_axis,
        broadcast_pairs,
        distinct,
        filled_shapes,
        positive,
        probabilities,
        shapes,
        shapes_with_axes,
        special,
        tame,
    )

__all__ = ["arrays", "arrays_with_axis", "arrays_with_one_axis", "broadcast_pairs", "check_broadcasting"]
__all__ += ["check_dtype", "check_error", "check_gradient", "check_layout", "check_op", "check_value", "distinct"]
__all__ += ["filled_shapes", "positive", "probabilities", "shapes", "shapes_with_axes", "special", "tame"]

__getattr__, __dir__ = lazy_imports(__name__)
