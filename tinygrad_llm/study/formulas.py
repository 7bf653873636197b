"""The formula of an operation, read from where it is written: its docstring, and where that is silent, its backward."""

from __future__ import annotations

import functools
import inspect
import re
import textwrap
from collections.abc import Callable
from types import CodeType
from typing import Any

from tinygrad_llm.graph import Backward

SAYS_THE_GRADIENT = re.compile(r"\bd[^\s=]+ = ")  # dx = ..., dweight[i] = ...


def operation_behind(backward: Backward) -> Callable[..., Any] | None:
    """The function that defined `backward`: `layer_norm` for `layer_norm.<locals>.backward`, None where it is local."""
    found: Any = None
    for name in backward.__qualname__.rsplit(".<locals>", 1)[0].split("."):
        found = getattr(backward, "__globals__", {}).get(name) if found is None else getattr(found, name, None)
        if found is None:
            return None
    return found if callable(found) else None


@functools.cache
def formula_of(operation: Callable[..., Any] | None, backward: CodeType) -> str:
    """What the docstring of `operation` says that it computes: its first sentence and the indented formulas.

    Where these do not say what the gradients are, the code of its backward follows, which does. An operation without
    docstring has that code alone.
    """
    lines = _from_docstring(inspect.getdoc(operation) or "") if operation is not None else []
    if not any(map(SAYS_THE_GRADIENT.search, lines)):
        lines += _from_source(backward)
    return "\n".join(lines)


def _from_docstring(text: str) -> list[str]:
    """The first paragraph on one line, and the paragraphs that are formulas: indented, before the list of shapes."""
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
