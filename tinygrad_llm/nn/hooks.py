"""The handle by which a forward hook is removed. Loaded on first use."""

from __future__ import annotations

import itertools

from tinygrad_llm.nn.module import ForwardHook

_next_hook = itertools.count().__next__


class HookHandle:
    """Removes a forward hook, by `remove()` or at the end of a `with` block."""

    def __init__(self, hooks: dict[int, ForwardHook], hook: ForwardHook) -> None:
        self._hooks, self._key = hooks, _next_hook()  # a key is never used again, so that remove() may be called twice
        hooks[self._key] = hook

    def remove(self) -> None:
        self._hooks.pop(self._key, None)

    def __enter__(self) -> HookHandle:
        return self

    def __exit__(self, *_: object) -> None:
        self.remove()
