"""Converting a module to another dtype: the body of `Module.to`, loaded on first use."""

from __future__ import annotations

from typing import Any

import numpy as np

from tinygrad_llm.errors import DTypeError
from tinygrad_llm.nn.module import Module


def to(module: Module, dtype: Any) -> None:
    """Convert parameters and buffers in place; see `Module.to`."""
    try:
        target = np.dtype(dtype)
    except TypeError:
        raise DTypeError(f"to: dtype must be a NumPy dtype; got {dtype!r}") from None
    if target.kind not in "fc":
        raise DTypeError(f"to: parameters must be floating-point; got {target}")
    for tensor in (*module.parameters(), *module.buffers()):
        if tensor.dtype.kind in "fc" and tensor.dtype != target:
            tensor.data = tensor.data.astype(target)
            tensor.grad = None
