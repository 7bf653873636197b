"""What PyTorch calls the node of an operation: `<MmBackward0>` for a matrix product, as its `grad_fn` prints."""

from __future__ import annotations

from typing import Any

_NAMES = {
    "astype": "ToCopy",
    "broadcast_to": "Expand",
    "cat": "Cat",
    "cross_entropy": "NllLoss",
    "dropout": "Mul",
    "getitem": "Slice",
    "gelu": "Gelu",
    "layer_norm": "NativeLayerNorm",
    "linear_cross_entropy": "NllLoss",
    "logsigmoid": "LogSigmoid",
    "log_softmax": "LogSoftmax",
    "masked_fill": "MaskedFill",
    "max": "Max",
    "min": "Min",
    "permute": "Permute",
    "reshape": "View",
    "square": "Pow",
    "transpose": "Transpose",
    "scaled_dot_product_attention": "ScaledDotProductFlashAttentionForCpu",
}
_NUMBERED = {"max": 1, "min": 1, "squeeze": 1}


def grad_fn_name(node: Any) -> str:
    """PyTorch's name for a recorded operation, from its own name and the shape of its result.

    Not all can be told apart: a slice and a single index have one name here.
    """
    name = node.name.rstrip("_")
    axes = len(node.shape)
    if name == "matmul":
        return {0: "Dot", 1: "Mv", 2: "Mm"}.get(axes, "UnsafeView") + "Backward0"
    if name == "linear":
        has_bias = len(node.parents) == 3
        if axes == 2:
            return "AddmmBackward0" if has_bias else "MmBackward0"
        return "ViewBackward0" if has_bias else "UnsafeViewBackward0"
    if name in ("sum", "mean"):
        return f"{name.title()}Backward{int(axes > 0)}"
    words = _NAMES.get(name) or "".join(word.title() for word in name.split("_"))
    return f"{words}Backward{_NUMBERED.get(name, 0) if axes == 0 or name == 'squeeze' else 0}"


class GradFn:
    """What `tensor.grad_fn` shows of a recorded operation."""

    def __init__(self, node: Any) -> None:
        self.node = node

    def name(self) -> str:
        return grad_fn_name(self.node)

    def __repr__(self) -> str:
        return f"<{self.name()} object at {hex(id(self.node))}>"
