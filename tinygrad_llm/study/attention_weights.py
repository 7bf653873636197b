"""Watching, and changing, the weights of every attention while a model runs."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from tinygrad_llm.ops.attention import (
    attention_weights,
    scaled_dot_product_attention,
    scaled_dot_product_attention_composed,
)
from tinygrad_llm.ops.dispatch import intercept
from tinygrad_llm.tensor import Tensor


@contextmanager
def watch_attention_weights(watcher: Callable[[Tensor], Tensor]) -> Iterator[None]:
    """Call `watcher(weights)` in every attention of this thread; the attention goes on with the weights it returns.

    The definition runs in place of the tiles, which never hold all weights at once. Of nested watchers the outermost
    is called first.
    """

    def watch(op_name: str, call: Callable[..., Tensor], *args: Any, **kwargs: Any) -> Tensor:
        result = call(*args, **kwargs)
        return watcher(result) if op_name == attention_weights.__name__ else result

    def run_attention_definition(op_name: str, call: Callable[..., Tensor], *args: Any, **kwargs: Any) -> Tensor:
        is_attention = op_name == scaled_dot_product_attention.__name__
        return (scaled_dot_product_attention_composed if is_attention else call)(*args, **kwargs)

    with intercept(watch), intercept(run_attention_definition, replaces=True):
        yield
