"""The words of PyTorch on this package's engine, so that code written for it runs with the import changed.

    import tinygrad_llm.torch as torch
    import tinygrad_llm.torch.nn as nn
    from tinygrad_llm.torch.utils.data import Dataset, DataLoader

It has what *Build a Large Language Model (From Scratch)* uses, and what lies near: seeded random numbers, shuffles and
first weights are PyTorch's, and Tensors, modules and dtypes print as PyTorch's do. A word that is missing says which
ones are nearest.

>>> import tinygrad_llm.torch as torch
>>> generator = torch.manual_seed(123)
>>> layer = torch.nn.Linear(3, 2)
>>> layer(torch.ones(1, 3))
tensor([[-0.9227, -0.3100]], grad_fn=<AddmmBackward0>)

What is not PyTorch's: everything is computed on the CPU; bfloat16 becomes float32, with a warning; `x.data` is an array
that prints as a Tensor and has its methods; gradients of gradients are not recorded; files are safetensors, and a
pickle is refused. No other part of the package knows this one, and importing it changes nothing elsewhere.
"""

from __future__ import annotations

import math
from typing import Any

from tinygrad_llm import enable_grad, manual_seed, no_grad
from tinygrad_llm.graph import is_grad_enabled
from tinygrad_llm.random import Generator
from tinygrad_llm.torch import autograd, backends, creation, cuda, functions, nn, optim, types, utils
from tinygrad_llm.torch.missing import missing_word
from tinygrad_llm.torch.printing import printoptions, set_printoptions
from tinygrad_llm.torch.saving import load, save
from tinygrad_llm.torch.tensor import Tensor, tensor
from tinygrad_llm.torch.types import Size, device, dtype

inf, nan, pi, e = math.inf, math.nan, math.pi, math.e
inference_mode = no_grad
__version__ = "2.13.0+tinygrad_llm"  # the version whose words these are

CREATION = [
    "arange",
    "as_tensor",
    "asarray",
    "empty",
    "empty_like",
    "eye",
    "from_numpy",
    "full",
    "full_like",
    "linspace",
]
CREATION += ["normal", "ones", "ones_like", "rand", "rand_like", "randint", "randn", "randn_like", "randperm", "zeros"]
CREATION += ["zeros_like"]
FUNCTIONS = ["broadcast_to", "cat", "concat", "concatenate", "diag", "einsum", "finfo", "hstack", "iinfo", "is_tensor"]
FUNCTIONS += ["isin"]
FUNCTIONS += ["stack", "take_along_dim", "vstack", "where"]
DTYPES = ["float16", "float32", "float64", "bfloat16", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32"]
DTYPES += ["uint64", "complex64", "complex128"]
# PyTorch's short names, some of which are Python's own: set below, so that they are Python's in this file.
SHORT = {"half": "float16", "float": "float32", "double": "float64", "short": "int16", "int": "int32", "long": "int64"}
SHORT |= {"bool": "bool_", "uint8": "uint8"}

_words: dict[str, Any] = {name: getattr(creation, name) for name in CREATION}
_words |= {name: getattr(functions, name) for name in FUNCTIONS}
_words |= {name: functions.as_function(name) for name in functions.METHODS}
_words |= {name: getattr(types, name) for name in DTYPES}
_words |= {name: getattr(types, long_name) for name, long_name in SHORT.items()}
globals().update(_words)

__all__ = ["Generator", "Size", "Tensor", "autograd", "backends", "cuda", "device", "dtype", "e", "enable_grad", "inf"]
__all__ += ["inference_mode", "is_grad_enabled", "load", "manual_seed", "nan", "nn", "no_grad", "optim", "pi"]
__all__ += ["printoptions", "save", "set_printoptions", "tensor", "utils"]


def set_grad_enabled(mode: Any) -> Any:
    """A `with` block in which operations are recorded, or not."""
    return enable_grad() if mode else no_grad()


def get_default_dtype() -> Any:
    return types.float32


def is_floating_point(input: Tensor) -> Any:
    return input.is_floating_point()


def __getattr__(name: str) -> Any:
    raise AttributeError(missing_word("torch", name, globals()))
