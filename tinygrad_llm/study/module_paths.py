"""The paths of modules, such as `blocks.0.attention`, and which of them are running."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

from tinygrad_llm.nn import Module


@contextmanager
def running_modules(model: Module) -> Iterator[tuple[list[str], Callable[[Module], str]]]:
    """A list of the paths of the running modules, outermost first, kept up to date; and a function: module to path.

    Each module's `forward` is wrapped inside the block, so the list is right after an exception too, and a shared layer
    has the path of where it is used. No hook is registered: a model whose code path depends on hooks takes the usual
    one.
    """
    paths: dict[int, list[str]] = {}
    for path, module in module_paths(model):
        paths.setdefault(id(module), []).append(path)
    running: list[str] = []

    def path_of(module: Module) -> str:
        possible = paths[id(module)]
        inside = running[-1] if running else ""
        return next((path for path in possible if path.startswith(f"{inside}." if inside else "")), possible[0])

    def tracked(module: Module) -> Callable[..., Any]:
        forward = module.forward

        def tracked_forward(*args: Any, **kwargs: Any) -> Any:
            running.append(path_of(module))
            try:
                return forward(*args, **kwargs)
            finally:
                running.pop()

        return tracked_forward

    with ExitStack() as undo:
        for module in model.modules():
            earlier = vars(module).get("forward")
            vars(module)["forward"] = tracked(module)
            undo.callback(_restore_forward, module, earlier)
        yield running, path_of


def _restore_forward(module: Module, forward: Any) -> None:
    if forward is None:
        del vars(module)["forward"]
    else:
        vars(module)["forward"] = forward


def module_paths(module: Module, path: str = "", above: tuple[Module, ...] = ()) -> Iterator[tuple[str, Module]]:
    """Every module under every path that leads to it: a shared module has several."""
    yield path, module
    for name, child in module.named_children():
        if child not in (*above, module):
            yield from module_paths(child, f"{path}.{name}" if path else name, (*above, module))
