"""`torch.nn.functional`: PyTorch's argument order and names on the functions of this package."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tinygrad_llm import functions, ops
from tinygrad_llm.errors import ConfigError, ShapeError
from tinygrad_llm.torch.missing import missing_word
from tinygrad_llm.torch.tensor import EngineTensor, Tensor, as_torch
from tinygrad_llm.torch.types import as_dtype


def _tensor(x: Any) -> EngineTensor:
    return x if isinstance(x, EngineTensor) else Tensor(x)


def relu(input: Any, inplace: bool = False) -> Any:
    return as_torch(_tensor(input).relu())


def gelu(input: Any, approximate: str = "none") -> Any:
    return as_torch(ops.gelu(input, approximate))


def silu(input: Any, inplace: bool = False) -> Any:
    return as_torch(functions.silu(input))


def sigmoid(input: Any) -> Any:
    return as_torch(_tensor(input).sigmoid())


def tanh(input: Any) -> Any:
    return as_torch(_tensor(input).tanh())


def softplus(input: Any, beta: float = 1.0, threshold: float = 20.0) -> Any:
    return as_torch(functions.softplus(input, beta, threshold))


def logsigmoid(input: Any) -> Any:
    return as_torch(functions.logsigmoid(input))


def softmax(input: Any, dim: int | None = None, dtype: Any = None) -> Any:
    """Probabilities along `dim`, which must be given: PyTorch's guess is deprecated there."""
    return as_torch(ops.softmax(_cast(input, dtype), _expect_dim("softmax", dim)))


def log_softmax(input: Any, dim: int | None = None, dtype: Any = None) -> Any:
    """Logarithms of probabilities along `dim`, which must be given."""
    return as_torch(ops.log_softmax(_cast(input, dtype), _expect_dim("log_softmax", dim)))


def _cast(x: Any, dtype: Any) -> EngineTensor:
    wanted = as_dtype(dtype)
    return _tensor(x) if wanted is None else _tensor(x).astype(wanted)


def _expect_dim(name: str, dim: int | None) -> int:
    if dim is None:
        raise ConfigError(f"{name}: dim must be given, -1 for the last axis; got None")
    return dim


def linear(input: Any, weight: Any, bias: Any = None) -> Any:
    return as_torch(ops.linear(input, weight, bias))


def embedding(input: Any, weight: Any, padding_idx: int | None = None) -> Any:
    return as_torch(functions.embedding(input, weight, padding_idx))


def dropout(input: Any, p: float = 0.5, training: bool = True, inplace: bool = False) -> Any:
    return as_torch(ops.dropout(input, p, training))


def layer_norm(input: Any, normalized_shape: Any, weight: Any = None, bias: Any = None, eps: float = 1e-5) -> Any:
    return as_torch(functions.layer_norm(input, normalized_shape, weight, bias, eps))


def normalize(input: Any, p: float = 2.0, dim: int = 1, eps: float = 1e-12) -> Any:
    return as_torch(functions.normalize(input, p, dim, eps))


def one_hot(tensor: Any, num_classes: int = -1) -> Any:
    return as_torch(functions.one_hot(tensor, num_classes))


def scaled_dot_product_attention(
    query: Any,
    key: Any,
    value: Any,
    attn_mask: Any = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    scale: float | None = None,
) -> Any:
    options = {"attn_mask": attn_mask, "dropout_p": dropout_p, "is_causal": is_causal, "scale": scale}
    return as_torch(ops.scaled_dot_product_attention(query, key, value, **options))


def pad(input: Any, pad: Sequence[int], mode: str = "constant", value: float | None = None) -> Any:
    """`value` around x: `pad` is (before, after) for the last axis, then for the one before it, and so on."""
    x, widths = _tensor(input), [int(one) for one in pad]
    if mode != "constant" or len(widths) % 2 or len(widths) > 2 * x.ndim or min(widths, default=0) < 0:
        raise ConfigError(f'pad: mode "constant" and pairs of counts for the last axes are needed; got {mode!r}, {pad}')
    pairs = list(zip(widths[::2], widths[1::2], strict=True))[::-1]
    return as_torch(x.pad([(0, 0)] * (x.ndim - len(pairs)) + pairs, 0.0 if value is None else value))


# -- losses; the classes are the second axis


def cross_entropy(
    input: Any,
    target: Any,
    weight: Any = None,
    *,
    ignore_index: int = -100,
    reduction: str = "mean",
    label_smoothing: float = 0.0,
) -> Any:
    """-ln softmax(logits)[target], in nats, for targets that are classes or probabilities.

    Shapes: input (C,), (N, C) or (N, C, ...); target (), (N,) or (N, ...) integers, or floats as input
    """
    logits, targets = _tensor(input), _tensor(target)
    if targets.shape == logits.shape and targets.data.dtype.kind == "f":
        targets = _classes_last(targets)
    result = functions.cross_entropy(_classes_last(logits), targets, weight, ignore_index, label_smoothing, reduction)
    return as_torch(result)


def nll_loss(input: Any, target: Any, weight: Any = None, *, ignore_index: int = -100, reduction: str = "mean") -> Any:
    return as_torch(functions.nll_loss(_classes_last(_tensor(input)), target, weight, ignore_index, reduction))


def _classes_last(x: EngineTensor) -> EngineTensor:
    """(N, C, ...) as (N, ..., C)."""
    return x if x.ndim < 3 else x.permute(0, *range(2, x.ndim), 1)


def mse_loss(input: Any, target: Any, *, reduction: str = "mean") -> Any:
    return as_torch(functions.mse_loss(input, target, reduction))


def kl_div(input: Any, target: Any, *, reduction: str = "mean", log_target: bool = False) -> Any:
    return as_torch(functions.kl_div(input, target, reduction, log_target))


def binary_cross_entropy(input: Any, target: Any, weight: Any = None, *, reduction: str = "mean") -> Any:
    x, y = _tensor(input), _tensor(target)
    if x.shape != y.shape:
        raise ShapeError(f"binary_cross_entropy: input and target must have one shape; got {x.shape} and {y.shape}")
    return as_torch(functions.binary_cross_entropy(x, y, weight, reduction))


def binary_cross_entropy_with_logits(
    input: Any, target: Any, weight: Any = None, *, reduction: str = "mean", pos_weight: Any = None
) -> Any:
    return as_torch(functions.binary_cross_entropy_with_logits(input, target, weight, pos_weight, reduction))


def __getattr__(name: str) -> Any:
    raise AttributeError(missing_word("torch.nn.functional", name, globals()))
