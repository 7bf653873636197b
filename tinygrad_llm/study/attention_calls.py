"""Standing between a model and its attention, where each call can be seen with its arguments."""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from tinygrad_llm.ops import attention
from tinygrad_llm.tensor import Tensor


@contextmanager
def attention_through(around: Callable[..., Tensor]) -> Iterator[None]:
    """Inside, `scaled_dot_product_attention(...)` is `around(scaled_dot_product_attention, ...)`, whoever calls it.

    What an operation records does not tell which keys were hidden; its arguments do. The function is replaced under
    its name in every module that has imported it.
    """
    real = attention.scaled_dot_product_attention
    name = real.__name__
    rooms = [getattr(module, "__dict__", {}) for module in list(sys.modules.values())]
    rooms = [room for room in rooms if room.get(name) is real]
    through = functools.wraps(real)(functools.partial(around, real))
    for room in rooms:
        room[name] = through
    try:
        yield
    finally:
        for room in rooms:
            room[name] = real
