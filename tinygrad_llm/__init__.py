"""A large language model all the way down: a NumPy autograd engine, and GPT on top of it."""

from tinygrad_llm.primitives import cat, maximum, minimum, pad, split, stack, where
from tinygrad_llm.tensor import Tensor, enable_grad, no_grad

__all__ = ["Tensor", "cat", "enable_grad", "maximum", "minimum", "no_grad", "pad", "split", "stack", "where"]
