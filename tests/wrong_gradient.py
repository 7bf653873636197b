"""A fused op with wrong gradients."""

from tinygrad_llm.graph import record_operation
from tinygrad_llm.ops.dispatch import FUSED, Pair


def broken(op: str, factor: float) -> Pair:
    """The op with gradients that are `factor` times what they should be."""
    correct = FUSED[op]

    def fused(*args, **kwargs):
        y = correct.fused(*args, **kwargs)
        return record_operation(y.data, [y], lambda dy: [dy * factor])

    return Pair(fused, correct.composed)
