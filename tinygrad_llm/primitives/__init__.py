"""The primitives: each forward with its hand-written backward, one file per family.

A file's class holds the methods that Tensor inherits, so that `x.exp` leads to the body of `exp`. Functions that are
not methods of one Tensor (`cat`, `stack`, `where`, ...) are in functions.py.
"""

from typing import TYPE_CHECKING

from tinygrad_llm.lazy import lazy_imports
from tinygrad_llm.primitives.arithmetic import Arithmetic
from tinygrad_llm.primitives.comparison import Comparison
from tinygrad_llm.primitives.elementwise import Elementwise
from tinygrad_llm.primitives.indexing import Indexing
from tinygrad_llm.primitives.joining import Joining
from tinygrad_llm.primitives.matmul import Matmul
from tinygrad_llm.primitives.operands import as_tensor
from tinygrad_llm.primitives.reduction import Reduction
from tinygrad_llm.primitives.shape import Shape

if TYPE_CHECKING:  # loaded on first use
    from tinygrad_llm.functions import error_function as error_function
    from tinygrad_llm.functions import logic as logic
    from tinygrad_llm.primitives import numpy_functions as numpy_functions
    from tinygrad_llm.primitives.functions import cat, maximum, minimum, pad, split, stack, where

__all__ = ["Arithmetic", "Comparison", "Elementwise", "Indexing", "Joining", "Matmul", "Reduction"]
__all__ += ["Shape", "as_tensor", "cat", "maximum", "minimum", "pad", "split", "stack", "where"]

__getattr__, __dir__ = lazy_imports(__name__)
