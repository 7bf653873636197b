"""The strategies and checks of `tinygrad_llm.testing`, for the tests of the primitives."""

from tinygrad_llm.testing import (
    arrays,
    arrays_with_axis,
    broadcast_pairs,
    check_op,
    distinct,
    filled_shapes,
    positive,
    shapes,
    shapes_with_axes,
    tame,
)

__all__ = ["arrays", "arrays_with_axis", "broadcast_pairs", "check_op", "distinct", "filled_shapes", "positive"]
__all__ += ["shapes", "shapes_with_axes", "tame"]
