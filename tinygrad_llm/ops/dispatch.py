"""The one wrapper around every op: it pairs a fused op with its definition, and lets handlers intercept each call.

A fused op does in a few NumPy passes, with one hand-written backward, what its composed definition spells out in
primitives. The definition is what the op must equal, gradients included: tests run every op of `FUSED`, and
`with composed_ops():` runs a whole model on the definitions.

`with intercept(handler):` calls every op of this thread as `handler(op_name, call, *args, **kwargs)`. A handler sees
the arguments, may change them, and goes on with `call(*args, **kwargs)`, to the next handler or to the op itself:

>>> from tinygrad_llm import Tensor
>>> from tinygrad_llm.ops import gelu
>>> def announce(op_name, call, *args, **kwargs):
...     print(op_name, args[0].shape)
...     return call(*args, **kwargs)
>>> with intercept(announce):
...     y = gelu(Tensor([[0.5, -1.0]]))
gelu (1, 2)
"""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple, ParamSpec, TypeAlias

import numpy as np

from tinygrad_llm.tensor import Tensor

P = ParamSpec("P")
Op: TypeAlias = "Callable[..., Tensor]"
Handler: TypeAlias = "Callable[..., Tensor]"  # handler(op_name, call, *args, **kwargs)


class FusedOp(NamedTuple):
    """A fused op and the definition it must equal."""

    fused: Op
    composed: Op


FUSED: dict[str, FusedOp] = {}


class _Handlers(threading.local):
    """The handlers of one thread, in the order in which they handle a call."""

    observing: tuple[Handler, ...] = ()
    replacing: tuple[Handler, ...] = ()
    in_order: tuple[Handler, ...] = ()


handlers = _Handlers()


def interceptable(op: Callable[P, Tensor]) -> Callable[P, Tensor]:
    """Wrap `op` so that every call goes through the handlers of its thread; without handlers it is called directly."""
    name = op.__name__

    @functools.wraps(op)
    def intercepted(*args: P.args, **kwargs: P.kwargs) -> Tensor:
        if not handlers.in_order:
            return op(*args, **kwargs)
        call: Op = op
        for handler in reversed(handlers.in_order):
            call = functools.partial(handler, name, call)
        return call(*args, **kwargs)

    return intercepted


def fuses(composed: Callable[P, Tensor]) -> Callable[[Callable[P, Tensor]], Callable[P, Tensor]]:
    """Enter the decorated op in `FUSED` as the fused form of `composed`, and make it interceptable.

    The op follows IEEE 754: infinity and NaN come out of it without NumPy's warnings.
    """

    def enter(fused: Callable[P, Tensor]) -> Callable[P, Tensor]:
        fused = np.errstate(all="ignore")(fused)  # as a decorator: a `with` block takes 1 µs longer
        FUSED[fused.__name__] = FusedOp(fused, composed)
        return interceptable(fused)

    return enter


@contextmanager
def intercept(handler: Handler, replaces: bool = False) -> Iterator[None]:
    """Call every op of this thread as `handler(op_name, call, *args, **kwargs)`.

    Of nested handlers the innermost handles the call first. With `replaces`, the handler comes after all that do not
    replace: it may run another function instead of the op, and the others still see the call. A handler that calls an
    op by its public name is called for that op too; `call` never comes back to it.
    """
    before = handlers.observing, handlers.replacing, handlers.in_order
    if replaces:
        handlers.replacing = (handler, *handlers.replacing)
    else:
        handlers.observing = (handler, *handlers.observing)
    handlers.in_order = handlers.observing + handlers.replacing
    try:
        yield
    finally:
        handlers.observing, handlers.replacing, handlers.in_order = before


def run_definition(op_name: str, call: Op, *args: Any, **kwargs: Any) -> Tensor:
    """The handler that runs the composed definition of an op, if it has one."""
    return FUSED[op_name].composed(*args, **kwargs) if op_name in FUSED else call(*args, **kwargs)


@contextmanager
def composed_ops() -> Iterator[None]:
    """Run every fused op of this thread as its composed definition: slower, and the reference for the fast ones."""
    with intercept(run_definition, replaces=True):
        yield
