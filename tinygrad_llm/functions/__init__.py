"""Differentiable functions beyond those of a GPT, one file per family: the definition above its fast form.

A family's file must not have the name of one of its functions, because the package offers both under one roof.
"""

from typing import TYPE_CHECKING

from tinygrad_llm.lazy import lazy_names

if TYPE_CHECKING:
    from tinygrad_llm.functions.activation import silu
    from tinygrad_llm.functions.normalization import rms_norm
    from tinygrad_llm.functions.rotary import rotate

__all__ = ["rms_norm", "rotate", "silu"]

__getattr__, __dir__ = lazy_names(
    __name__,
    {
        "tinygrad_llm.functions.activation": ("silu",),
        "tinygrad_llm.functions.normalization": ("rms_norm",),
        "tinygrad_llm.functions.rotary": ("rotate",),
    },
)


def load_all() -> None:
    """Import every file of this room, so that `tinygrad_llm.ops.FUSED` lists its ops too."""
    for name in __all__:
        __getattr__(name)
