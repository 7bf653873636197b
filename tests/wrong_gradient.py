"""A fused op with wrong gradients."""

from typing import Any

from tinygrad_llm.graph import record_operation
from tinygrad_llm.ops.dispatch import FUSED, FusedOp
from tinygrad_llm.tensor import Tensor


def broken(op: str, factor: float) -> FusedOp:
    """The op with gradients that are `factor` times what they should be."""
    correct = FUSED[op]

    def fused(*args: Any, **kwargs: Any) -> Tensor:
        y = correct.fused(*args, **kwargs)
        return record_operation(y.data, [y], lambda dy: [dy * factor])

    return FusedOp(fused, correct.composed)
