"""Differentiable functions beyond what a GPT needs, one file per family, each with its hand-written backward.

A family's file must not have the name of one of its functions, because both are attributes of this package.

    elementwise      sin, cos, square, rsqrt, log1p, expm1, softplus, logsigmoid, logaddexp
    statistics       prod, std, norm, normalize
    gathering        gather, scatter_add, take_along_axis
    sorting          sort, argsort, topk, argmin
    contraction      einsum, outer
    rearranging      repeat_interleave, expand, chunk, flip, roll, diagonal
    logic            isnan, isfinite, isinf, any, all, bitwise_and, bitwise_or, bitwise_xor, remainder,
                     floor_divide
    losses           cross_entropy (class weights, probabilities), nll_loss, mse_loss, kl_div, binary_cross_entropy,
                     binary_cross_entropy_with_logits
    normalization    rms_norm; layer_norm without weight and over several axes
    activation       silu
    rotary           rotate
    delta_rule       gated_delta_rule, gated_delta_rule_recurrent, inverse_of_unit_lower
    lookup           embedding with padding_idx, one_hot
    error_function   erf and its derivative on arrays, for Tensor.erf and the exact GELU

>>> from tinygrad_llm import Tensor, functions
>>> x = Tensor([[1.0, 4.0], [3.0, 2.0]], requires_grad=True)
>>> functions.topk(x, 1).values.sum().backward()
>>> x.grad.tolist()
[[0.0, 1.0], [1.0, 0.0]]
"""

from typing import TYPE_CHECKING

from tinygrad_llm.lazy import lazy_imports

if TYPE_CHECKING:
    from tinygrad_llm.functions.activation import silu
    from tinygrad_llm.functions.contraction import einsum, outer
    from tinygrad_llm.functions.delta_rule import (
        gated_delta_rule,
        gated_delta_rule_recurrent,
        inverse_of_unit_lower,
    )
    from tinygrad_llm.functions.elementwise import (
        cos,
        expm1,
        log1p,
        logaddexp,
        logsigmoid,
        rsqrt,
        sin,
        softplus,
        square,
    )
    from tinygrad_llm.functions.gathering import gather, scatter_add, take_along_axis
    from tinygrad_llm.functions.logic import (
        all,
        any,
        bitwise_and,
        bitwise_or,
        bitwise_xor,
        floor_divide,
        isfinite,
        isinf,
        isnan,
        remainder,
    )
    from tinygrad_llm.functions.lookup import embedding, one_hot
    from tinygrad_llm.functions.losses import (
        binary_cross_entropy,
        binary_cross_entropy_with_logits,
        cross_entropy,
        kl_div,
        mse_loss,
        nll_loss,
    )
    from tinygrad_llm.functions.normalization import layer_norm, rms_norm
    from tinygrad_llm.functions.rearranging import chunk, diagonal, expand, flip, repeat_interleave, roll
    from tinygrad_llm.functions.rotary import rotate
    from tinygrad_llm.functions.sorting import argmin, argsort, sort, topk
    from tinygrad_llm.functions.statistics import norm, normalize, prod, std

__all__ = ["all", "any", "argmin", "argsort", "binary_cross_entropy", "binary_cross_entropy_with_logits"]
__all__ += ["bitwise_and", "bitwise_or", "bitwise_xor", "chunk", "cos", "cross_entropy", "diagonal", "einsum"]
__all__ += ["embedding", "expand", "expm1", "flip", "floor_divide", "gated_delta_rule", "gated_delta_rule_recurrent"]
__all__ += ["gather", "inverse_of_unit_lower", "isfinite", "isinf", "isnan", "kl_div", "layer_norm", "log1p"]
__all__ += ["logaddexp", "logsigmoid", "mse_loss", "nll_loss", "norm", "normalize", "one_hot", "outer", "prod"]
__all__ += ["remainder", "repeat_interleave", "rms_norm", "roll", "rotate", "rsqrt", "scatter_add", "silu", "sin"]
__all__ += ["softplus", "sort", "square", "std", "take_along_axis", "topk"]


__getattr__, __dir__ = lazy_imports(__name__)


def load_all() -> None:
    """Import every file of this room, so that `tinygrad_llm.ops.FUSED` lists its ops too."""
    for name in __all__:
        __getattr__(name)
