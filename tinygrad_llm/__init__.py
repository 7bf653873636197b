"""A large language model all the way down: a NumPy autograd engine, and GPT on top of it.

    >>> from tinygrad_llm import Tensor
    >>> x = Tensor([1.0, 2.0], requires_grad=True)
    >>> (x * x).sum().backward()
    >>> x.grad
    array([2., 4.], dtype=float32)
"""

from tinygrad_llm import nn, optim
from tinygrad_llm.anomaly import detect_anomaly
from tinygrad_llm.gradcheck import gradcheck
from tinygrad_llm.ops import composed_ops
from tinygrad_llm.primitives import cat, maximum, minimum, pad, split, stack, where
from tinygrad_llm.random import Generator, default_generator, manual_seed
from tinygrad_llm.tensor import Tensor, enable_grad, no_grad
from tinygrad_llm.train import load

__all__ = [
    "Generator", "Tensor", "cat", "composed_ops", "default_generator", "detect_anomaly", "enable_grad",
    "gradcheck", "load", "manual_seed", "maximum", "minimum", "nn", "no_grad", "optim", "pad", "split", "stack",
    "where",
]  # fmt: skip
