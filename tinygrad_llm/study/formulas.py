"""The formula of an operation: from its docstring or, where that has no gradients, the source of its backward."""

from __future__ import annotations

import functools
import inspect
import re
import textwrap
from collections.abc import Callable
from types import CodeType
from typing import Any

from tinygrad_llm.graph import Backward

GRADIENT_FORMULA = re.compile(r"\bd[^\s=]+ = ")  # dx = ..., dweight[i] = ...


def operation_behind(backward: Backward) -> Callable[..., Any] | None:
    """The function that defined `backward`: `layer_norm` for `layer_norm.<locals>.backward`; None for a local one."""
    found: Any = None
    for name in backward.__qualname__.rsplit(".<locals>", 1)[0].split("."):
        found = getattr(backward, "__globals__", {}).get(name) if found is None else getattr(found, name, None)
        if found is None:
            return None
    return found if callable(found) else None


@functools.cache
def formula_of(operation: Callable[..., Any] | None, backward: CodeType) -> str:
    """The first sentence and the indented formulas of the docstring of `operation`.

    The source of its backward follows where these have no formula of a gradient.
    """
    lines = _from_docstring(inspect.getdoc(operation) or "") if operation is not None else []
    if not any(map(GRADIENT_FORMULA.search, lines)):
        lines += _from_source(backward)
    return "\n".join(lines)


def _from_docstring(text: str) -> list[str]:
    """The first paragraph as one line, and the formulas: indented paragraphs before `Shapes:`."""
    first, *others = text.split("\n\n")
    lines = [" ".join(first.split())] if first.strip() else []
    for paragraph in others:
        if paragraph.startswith("Shapes:"):
            break
        if paragraph.startswith("    ") and not paragraph.lstrip().startswith(">>>"):
            lines += textwrap.indent(textwrap.dedent(paragraph), "    ").splitlines()
    return lines


def _from_source(backward: CodeType) -> list[str]:
    try:
        source = inspect.getsource(backward)
    except OSError:  # typed at a prompt
        return []
    return textwrap.indent(textwrap.dedent(source).rstrip(), "    ").splitlines()
