"""`torch.nn.init`: the first values of weights, drawn as PyTorch draws them, into the Tensor given."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from tinygrad_llm.errors import ConfigError, ShapeError
from tinygrad_llm.random import default_generator
from tinygrad_llm.torch.missing import missing_word
from tinygrad_llm.torch.tensor import write

GAINS = {"linear": 1.0, "sigmoid": 1.0, "tanh": 5 / 3, "relu": math.sqrt(2)}


def uniform_(tensor: Any, a: float = 0.0, b: float = 1.0) -> Any:
    write(tensor, default_generator().uniform(a, b, tensor.data.shape, tensor.data.dtype))
    return tensor


def normal_(tensor: Any, mean: float = 0.0, std: float = 1.0) -> Any:
    write(tensor, default_generator().normal(mean, std, tensor.data.shape, tensor.data.dtype))
    return tensor


def constant_(tensor: Any, val: float) -> Any:
    write(tensor, val)
    return tensor


def zeros_(tensor: Any) -> Any:
    return constant_(tensor, 0)


def ones_(tensor: Any) -> Any:
    return constant_(tensor, 1)


def eye_(tensor: Any) -> Any:
    write(tensor, np.eye(*tensor.data.shape))
    return tensor


def xavier_uniform_(tensor: Any, gain: float = 1.0) -> Any:
    """Uniform in ±gain √(6 / (fan_in + fan_out)) (Glorot and Bengio 2010)."""
    bound = gain * math.sqrt(6 / sum(_calculate_fan_in_and_fan_out(tensor)))
    return uniform_(tensor, -bound, bound)


def xavier_normal_(tensor: Any, gain: float = 1.0) -> Any:
    """Normal with standard deviation gain √(2 / (fan_in + fan_out)) (Glorot and Bengio 2010)."""
    return normal_(tensor, 0.0, gain * math.sqrt(2 / sum(_calculate_fan_in_and_fan_out(tensor))))


def kaiming_uniform_(tensor: Any, a: float = 0, mode: str = "fan_in", nonlinearity: str = "leaky_relu") -> Any:
    """Uniform in ±gain √(3 / fan) (He et al. 2015, arXiv:1502.01852)."""
    bound = calculate_gain(nonlinearity, a) * math.sqrt(3 / _fan(tensor, mode))
    return uniform_(tensor, -bound, bound)


def kaiming_normal_(tensor: Any, a: float = 0, mode: str = "fan_in", nonlinearity: str = "leaky_relu") -> Any:
    """Normal with standard deviation gain / √fan (He et al. 2015, arXiv:1502.01852)."""
    return normal_(tensor, 0.0, calculate_gain(nonlinearity, a) / math.sqrt(_fan(tensor, mode)))


def calculate_gain(nonlinearity: str, param: float | None = None) -> float:
    """The factor that undoes how much an activation shrinks the standard deviation."""
    if nonlinearity == "leaky_relu":
        slope = 0.01 if param is None else param
        return math.sqrt(2 / (1 + slope**2))
    if nonlinearity not in GAINS:
        known = ", ".join([*GAINS, "leaky_relu"])
        raise ConfigError(f"calculate_gain: nonlinearity must be one of {known}; got {nonlinearity!r}")
    return GAINS[nonlinearity]


def _calculate_fan_in_and_fan_out(tensor: Any) -> tuple[int, int]:
    """Fan-in and fan-out of a weight (out, in, ...), under the name by which code for PyTorch calls it."""
    shape = tensor.data.shape
    if len(shape) < 2:
        raise ShapeError(f"init: a Tensor of at least two axes, (out, in), is needed; got {shape}")
    others = math.prod(shape[2:])
    return shape[1] * others, shape[0] * others


def _fan(tensor: Any, mode: str) -> int:
    if mode not in ("fan_in", "fan_out"):
        raise ConfigError(f'init: mode must be "fan_in" or "fan_out"; got {mode!r}')
    return _calculate_fan_in_and_fan_out(tensor)[mode == "fan_out"]


def __getattr__(name: str) -> Any:
    raise AttributeError(missing_word("torch.nn.init", name, globals()))
