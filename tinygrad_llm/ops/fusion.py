"""The table of fused ops beside their definitions, and the switch between them.

A fused op does in a few NumPy passes, with one hand-written backward, what its composed definition spells out in
primitives. The definition is what the op must equal, gradients included: tests run every pair of this table, and
`with composed_ops():` runs a whole model on the definitions.
"""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import NamedTuple, ParamSpec

from tinygrad_llm.tensor import Tensor

P = ParamSpec("P")


class Pair(NamedTuple):
    """A fused op and the definition it must equal."""

    fused: Callable[..., Tensor]
    composed: Callable[..., Tensor]


FUSED: dict[str, Pair] = {}


class _Mode(threading.local):
    composed = False


_mode = _Mode()


def fuses(composed: Callable[P, Tensor]) -> Callable[[Callable[P, Tensor]], Callable[P, Tensor]]:
    """Enter the decorated op into the table as the fused form of `composed`."""

    def enter(fused: Callable[P, Tensor]) -> Callable[P, Tensor]:
        FUSED[fused.__name__] = Pair(fused, composed)

        @functools.wraps(fused)
        def fused_or_composed(*args: P.args, **kwargs: P.kwargs) -> Tensor:
            return composed(*args, **kwargs) if _mode.composed else fused(*args, **kwargs)

        return fused_or_composed

    return enter


@contextmanager
def composed_ops() -> Iterator[None]:
    """Run every fused op of this thread as its composed definition: slower, and the oracle for the fast ones."""
    before, _mode.composed = _mode.composed, True
    try:
        yield
    finally:
        _mode.composed = before
