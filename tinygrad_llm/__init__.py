"""A large language model all the way down: a NumPy autograd engine, and GPT on top of it.

>>> from tinygrad_llm import Tensor
>>> x = Tensor([1.0, 2.0], requires_grad=True)
>>> (x * x).sum().backward()
>>> x.grad
array([2., 4.], dtype=float32)
"""

from typing import TYPE_CHECKING

from tinygrad_llm.lazy import lazy_imports

if TYPE_CHECKING:
    from tinygrad_llm import data, finetune, formats, generate, interop, measure, models, nn, optim, study, text, verify
    from tinygrad_llm.anomaly import detect_anomaly
    from tinygrad_llm.gradcheck import gradcheck
    from tinygrad_llm.graph import enable_grad, no_grad
    from tinygrad_llm.ops import composed_ops
    from tinygrad_llm.primitives import cat, maximum, minimum, pad, split, stack, where
    from tinygrad_llm.random import Generator, default_generator, manual_seed
    from tinygrad_llm.runs import load
    from tinygrad_llm.tensor import Tensor

__version__ = "0.1.0"  # pyproject.toml reads it here

__all__ = ["Generator", "Tensor", "cat", "composed_ops", "data", "default_generator", "detect_anomaly", "enable_grad"]
__all__ += ["finetune", "formats", "generate", "gradcheck", "interop", "load", "manual_seed", "maximum", "measure"]
__all__ += ["minimum", "models", "nn", "no_grad", "optim", "pad", "split", "stack", "study", "text", "verify"]
__all__ += ["where"]

__getattr__, __dir__ = lazy_imports(__name__)
