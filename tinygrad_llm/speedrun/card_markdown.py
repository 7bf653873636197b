"""A document as Markdown, its charts over optimizer steps in characters; the others are left to the page."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from tinygrad_llm.runs.loss_chart import as_text
from tinygrad_llm.speedrun.document import (
    Block,
    Cell,
    Chart,
    Commands,
    Facts,
    Heading,
    Paragraph,
    Share,
    Table,
    Verbatim,
)
from tinygrad_llm.terminal import escape_controls

CHART_WIDTH, CHART_HEIGHT = 76, 12


def as_markdown(blocks: Iterable[Block]) -> str:
    """The document as Markdown of GitHub's kind."""
    return "\n\n".join(filter(None, ("\n".join(_lines(block)) for block in blocks))) + "\n"


def _lines(block: Block) -> Iterator[str]:
    match block:
        case Heading(text, level):
            yield f"{'#' * level} {text}"
        case Paragraph(text):
            yield text
        case Facts(rows):
            yield from _table(["setting", "value"], [list(row) for row in rows], (0, 1))
        case Table(head, rows, texts):
            yield from _table(head, rows, texts)
        case Commands(lines):
            yield from ("```sh", *lines, "```")
        case Chart(title, curves=curves, log_x=False):
            yield f"{title}:\n\n```text"
            yield from as_text(curves, CHART_WIDTH, CHART_HEIGHT)
            yield "```"


def _table(head: Iterable[str], rows: Iterable[Iterable[Cell]], texts: Iterable[int]) -> Iterator[str]:
    head = list(head)
    yield f"| {' | '.join(head)} |"
    yield "|" + "|".join("---" if column in texts else "---:" for column in range(len(head))) + "|"
    for row in rows:
        yield f"| {' | '.join(map(_cell, row))} |"


def _cell(cell: Cell) -> str:
    match cell:
        case Share(value):
            return f"{value:.0%}"
        case Verbatim(text, right):
            mark = {True: "✓ ", False: "✗ ", None: ""}[right]
            return mark + _code(text)
        case _:
            return str(cell).replace("|", "\\|")


def _code(text: str) -> str:
    """A text as code in a cell of a table: one line, inside more backticks than it has in a row."""
    text = escape_controls(text.replace("\n", " ⏎ ")).replace("|", "\\|").strip()
    if not text:
        return "(empty)"
    fence = "`" * (1 + max(map(len, re.findall("`+", text)), default=0))
    space = " " if "`" in text else ""
    return f"{fence}{space}{text}{space}{fence}"
