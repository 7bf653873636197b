"""A large language model all the way down: a NumPy autograd engine, and GPT on top of it.

>>> from tinygrad_llm import Tensor
>>> x = Tensor([1.0, 2.0], requires_grad=True)
>>> (x * x).sum().backward()
>>> x.grad
array([2., 4.], dtype=float32)
"""

from typing import TYPE_CHECKING

from tinygrad_llm.gradcheck import gradcheck  # not when first used: its module, once loaded, would take the name
from tinygrad_llm.graph import enable_grad, no_grad
from tinygrad_llm.lazy import lazy_names
from tinygrad_llm.primitives import cat, maximum, minimum, pad, split, stack, where
from tinygrad_llm.random import Generator, default_generator, manual_seed
from tinygrad_llm.tensor import Tensor

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

__getattr__, __dir__ = lazy_names(
    __name__,
    {
        "tinygrad_llm.anomaly": ("detect_anomaly",),
        "tinygrad_llm.data": (),
        "tinygrad_llm.finetune": (),
        "tinygrad_llm.formats": (),
        "tinygrad_llm.generate": (),
        "tinygrad_llm.interop": (),
        "tinygrad_llm.measure": (),
        "tinygrad_llm.models": (),
        "tinygrad_llm.nn": (),
        "tinygrad_llm.ops": ("composed_ops",),
        "tinygrad_llm.optim": (),
        "tinygrad_llm.study": (),
        "tinygrad_llm.text": (),
        "tinygrad_llm.train": ("load",),
        "tinygrad_llm.verify": (),
    },
)
