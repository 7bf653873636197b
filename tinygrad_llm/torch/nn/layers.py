"""PyTorch's layers on the engine's: the same parameters, drawn in the same order, and printed the same way."""

from __future__ import annotations

from typing import Any

import numpy as np

from tinygrad_llm import functions, layers, nn
from tinygrad_llm.torch.nn import functional as F
from tinygrad_llm.torch.nn.module import Module, Parameter, expect_options
from tinygrad_llm.torch.tensor import EngineTensor, Tensor


def _size(size: Any) -> Any:
    """A size, which may be given as a Tensor of one integer."""
    return int(size.data) if isinstance(size, EngineTensor) and size.data.dtype.kind in "iu" else size


def _to_dtype(module: Module, dtype: Any) -> None:
    if dtype is not None:
        module.to(dtype=dtype)


class Linear(Module, nn.Linear):
    """y = x Wᵀ + b."""

    def __init__(
        self, in_features: int, out_features: int, bias: bool = True, device: Any = None, dtype: Any = None
    ) -> None:
        expect_options("Linear", device)
        nn.Linear.__init__(self, _size(in_features), _size(out_features), bias)
        _to_dtype(self, dtype)


class Embedding(Module, nn.Embedding):
    """The row of the table for each id; the row `padding_idx` starts at 0 and is not learned."""

    def __init__(
        self,
        num_embeddings: int,
        embedding_dim: int,
        padding_idx: int | None = None,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        expect_options("Embedding", device)
        nn.Embedding.__init__(self, _size(num_embeddings), _size(embedding_dim))
        self.padding_idx = padding_idx if padding_idx is None else padding_idx % self.num_embeddings
        if padding_idx is not None:
            self.weight.data[padding_idx] = 0
        _to_dtype(self, dtype)

    def forward(self, ids: Any) -> Any:
        return functions.embedding(ids, self.weight, self.padding_idx)

    def extra_repr(self) -> str:
        padding = "" if self.padding_idx is None else f", padding_idx={self.padding_idx}"
        return f"{self.num_embeddings}, {self.embedding_dim}{padding}"


class Dropout(Module, nn.Dropout):
    """Zero each element with probability p while training, and scale the others by 1 / (1 - p)."""

    def __init__(self, p: float = 0.5, inplace: bool = False) -> None:
        expect_options("Dropout", inplace=(inplace, False))
        nn.Dropout.__init__(self, p)

    def extra_repr(self) -> str:
        return f"p={self.p}, inplace=False"


class LayerNorm(Module):
    """Mean 0 and variance 1 over the last axes, then scale and shift (Ba et al. 2016, arXiv:1607.06450)."""

    def __init__(
        self,
        normalized_shape: Any,
        eps: float = 1e-5,
        elementwise_affine: bool = True,
        bias: bool = True,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        expect_options("LayerNorm", device)
        shape = (normalized_shape,) if isinstance(normalized_shape, int) else tuple(normalized_shape)
        self.normalized_shape, self.eps, self.elementwise_affine = shape, eps, elementwise_affine
        self.weight = Parameter(np.ones(shape, np.float32)) if elementwise_affine else None
        self.bias = Parameter(np.zeros(shape, np.float32)) if elementwise_affine and bias else None
        _to_dtype(self, dtype)

    def forward(self, x: Any) -> Any:
        return functions.layer_norm(x, self.normalized_shape, self.weight, self.bias, self.eps)

    def extra_repr(self) -> str:
        has_bias = self.bias is not None
        return f"{self.normalized_shape}, eps={self.eps}, elementwise_affine={self.elementwise_affine}, bias={has_bias}"


class RMSNorm(Module, layers.RMSNorm):
    """Root mean square 1 along the last axis, then scale (Zhang and Sennrich 2019, arXiv:1910.07467)."""

    def __init__(self, normalized_shape: int, eps: float | None = None, elementwise_affine: bool = True) -> None:
        expect_options("RMSNorm", elementwise_affine=(elementwise_affine, True))
        self.given_eps = eps
        layers.RMSNorm.__init__(self, normalized_shape, float(np.finfo(np.float32).eps) if eps is None else eps)

    def extra_repr(self) -> str:
        return f"({len(self.weight)},), eps={self.given_eps}, elementwise_affine=True"


class GELU(Module, nn.GELU):
    """The Gaussian error linear unit, exact or in GPT-2's tanh form (Hendrycks and Gimpel 2016, arXiv:1606.08415)."""


class SiLU(Module, layers.SiLU):
    """x σ(x) (Elfwing et al. 2017, arXiv:1702.03118)."""


class ReLU(Module, nn.ReLU):
    """max(x, 0)."""

    def __init__(self, inplace: bool = False) -> None:
        expect_options("ReLU", inplace=(inplace, False))


class Sigmoid(Module):
    """1 / (1 + e⁻ˣ)."""

    def forward(self, x: Any) -> Any:
        return F.sigmoid(x)


class Tanh(Module):
    """tanh x."""

    def forward(self, x: Any) -> Any:
        return F.tanh(x)


class Softmax(Module):
    """Probabilities along `dim`."""

    def __init__(self, dim: int) -> None:
        self.dim = dim

    def forward(self, x: Any) -> Any:
        return F.softmax(x, self.dim)

    def extra_repr(self) -> str:
        return f"dim={self.dim}"


class Identity(Module):
    """x itself."""

    def __init__(self, *_: Any, **__: Any) -> None:
        pass

    def forward(self, x: Any) -> Any:
        return x


class Flatten(Module):
    """The axes from `start_dim` to `end_dim` as one."""

    def __init__(self, start_dim: int = 1, end_dim: int = -1) -> None:
        self.start_dim, self.end_dim = start_dim, end_dim

    def forward(self, x: Any) -> Any:
        return Tensor.flatten(x, self.start_dim, self.end_dim)

    def extra_repr(self) -> str:
        return f"start_dim={self.start_dim}, end_dim={self.end_dim}"


# -- losses as modules


class MSELoss(Module):
    """The mean of squared differences."""

    def __init__(self, reduction: str = "mean") -> None:
        self.reduction = reduction

    def forward(self, x: Any, y: Any) -> Any:
        return F.mse_loss(x, y, reduction=self.reduction)


class CrossEntropyLoss(Module):
    """-ln softmax(logits)[target], in nats; see `torch.nn.functional.cross_entropy`."""

    def __init__(
        self, weight: Any = None, ignore_index: int = -100, reduction: str = "mean", label_smoothing: float = 0.0
    ) -> None:
        self.weight = weight
        self.options: dict[str, Any] = {
            "ignore_index": ignore_index,
            "reduction": reduction,
            "label_smoothing": label_smoothing,
        }

    def forward(self, logits: Any, targets: Any) -> Any:
        return F.cross_entropy(logits, targets, self.weight, **self.options)


class NLLLoss(Module):
    """-ln p[target], for logarithms of probabilities."""

    def __init__(self, weight: Any = None, ignore_index: int = -100, reduction: str = "mean") -> None:
        self.weight = weight
        self.options: dict[str, Any] = {"ignore_index": ignore_index, "reduction": reduction}

    def forward(self, log_probabilities: Any, targets: Any) -> Any:
        return F.nll_loss(log_probabilities, targets, self.weight, **self.options)


class BCELoss(Module):
    """-(y ln p + (1 - y) ln(1 - p)), for probabilities."""

    def __init__(self, weight: Any = None, reduction: str = "mean") -> None:
        self.weight, self.reduction = weight, reduction

    def forward(self, p: Any, targets: Any) -> Any:
        return F.binary_cross_entropy(p, targets, self.weight, reduction=self.reduction)


class BCEWithLogitsLoss(Module):
    """-(y ln σ(x) + (1 - y) ln σ(-x)), for logits."""

    def __init__(self, weight: Any = None, reduction: str = "mean", pos_weight: Any = None) -> None:
        self.weight, self.options = weight, {"reduction": reduction, "pos_weight": pos_weight}

    def forward(self, x: Any, targets: Any) -> Any:
        return F.binary_cross_entropy_with_logits(x, targets, self.weight, **self.options)
