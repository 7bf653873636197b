"""A large language model all the way down: a NumPy autograd engine, and GPT on top of it.

>>> from tinygrad_llm import Tensor
>>> x = Tensor([1.0, 2.0], requires_grad=True)
>>> (x * x).sum().backward()
>>> x.grad
array([2., 4.], dtype=float32)
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from tinygrad_llm.gradcheck import gradcheck  # not when first used: its module, once loaded, would take the name
from tinygrad_llm.primitives import cat, maximum, minimum, pad, split, stack, where
from tinygrad_llm.random import Generator, default_generator, manual_seed
from tinygrad_llm.tensor import Tensor, enable_grad, no_grad

if TYPE_CHECKING:
    from tinygrad_llm import nn, optim
    from tinygrad_llm.anomaly import detect_anomaly
    from tinygrad_llm.ops import composed_ops
    from tinygrad_llm.train import load

__all__ = [
    "Generator",
    "Tensor",
    "cat",
    "composed_ops",
    "default_generator",
    "detect_anomaly",
    "enable_grad",
    "gradcheck",
    "load",
    "manual_seed",
    "maximum",
    "minimum",
    "nn",
    "no_grad",
    "optim",
    "pad",
    "split",
    "stack",
    "where",
]

# Loaded when first used (PEP 562), so that importing the package takes little longer than importing NumPy.
_ROOMS = (
    "data",
    "finetune",
    "formats",
    "generate",
    "interop",
    "models",
    "nn",
    "ops",
    "optim",
    "study",
    "text",
    "train",
)
_ROOM_OF = {"composed_ops": "ops", "detect_anomaly": "anomaly", "load": "train"}


def __getattr__(name: str) -> Any:
    if name in _ROOMS:
        return import_module(f"tinygrad_llm.{name}")  # which makes it an attribute: it is asked for once
    if name in _ROOM_OF:
        value = globals()[name] = getattr(import_module(f"tinygrad_llm.{_ROOM_OF[name]}"), name)
        return value
    raise AttributeError(f"module 'tinygrad_llm' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__, *_ROOMS})
