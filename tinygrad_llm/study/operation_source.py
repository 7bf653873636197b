"""The source of a recorded operation: its forward, its backward, and the code that called it, with lines marked."""

from __future__ import annotations

import ast
import inspect
import textwrap
from dataclasses import dataclass
from pathlib import Path
from types import CodeType

from tinygrad_llm.anomaly import PACKAGE


@dataclass(frozen=True)
class Place:
    """A line of running code."""

    code: CodeType
    line: int | None  # None: the return statements are marked


@dataclass(frozen=True)
class OperationCode:
    """Where an operation is: the line of the forward that recorded it, its backward, and the line that called it."""

    forward: Place
    backward: Place | None
    caller: Place | None


@dataclass(frozen=True)
class Source:
    """The lines of a function; `first` is the number of the first, and `marked` are numbers of lines."""

    file: str
    first: int
    lines: list[str]
    marked: list[int]


def source_of(place: Place) -> Source | None:
    """The source of the function that `place` is in, with its statement marked; None if there is no source."""
    try:
        lines, first = inspect.getsourcelines(place.code)
    except (OSError, TypeError):  # typed at a prompt, or made by exec
        return None
    text = textwrap.dedent("".join(lines))
    first = max(first, 1)
    path = Path(place.code.co_filename)
    shown = path.relative_to(Path(PACKAGE).parent) if path.is_relative_to(PACKAGE) else Path(path.name)
    marked = _statement_at(text, None if place.line is None else place.line - first + 1)
    return Source(str(shown), first, text.splitlines(), [first + number - 1 for number in marked])


def _statement_at(text: str, line: int | None) -> list[int]:
    """The lines of the innermost statement at `line`; without one, those of the function's own return statements."""
    try:
        tree = ast.parse(text)
    except SyntaxError:  # a lambda inside of an expression
        return [] if line is None else [line]
    if line is None:
        found = [node for node in _own_nodes(tree.body[0]) if isinstance(node, ast.Return)]
        return [number for node in found for number in range(node.lineno, (node.end_lineno or node.lineno) + 1)]
    around = [
        (node.lineno, node.end_lineno or node.lineno)
        for node in ast.walk(tree)
        if isinstance(node, ast.stmt) and node.lineno <= line <= (node.end_lineno or node.lineno)
    ]
    start, stop = min(around, key=lambda lines: lines[1] - lines[0], default=(line, line))
    return list(range(start, stop + 1))


def _own_nodes(function: ast.AST) -> list[ast.AST]:
    """The nodes of a function without those of functions inside it."""
    found: list[ast.AST] = []
    stack = list(ast.iter_child_nodes(function))
    while stack:
        node = stack.pop()
        found.append(node)
        if not isinstance(node, ast.FunctionDef | ast.Lambda):
            stack += ast.iter_child_nodes(node)
    return sorted(found, key=lambda node: getattr(node, "lineno", 0))
