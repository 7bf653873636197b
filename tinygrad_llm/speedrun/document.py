"""A document as a list of blocks, which `as_markdown` and `as_page` write in their own form.

In texts and cells, `backticks` mark code; what a model or a user wrote is a `Verbatim`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

from tinygrad_llm.runs.loss_chart import Curve


@dataclass(frozen=True)
class Verbatim:
    """A text that is shown as it is; `right` says whether it is a right answer, where that is known."""

    text: str
    right: bool | None = None


@dataclass(frozen=True)
class Share:
    """A share of 1, shown as a percentage and, on a page, as a bar."""

    value: float


Cell: TypeAlias = str | Verbatim | Share


@dataclass(frozen=True)
class Heading:
    text: str
    level: int = 2


@dataclass(frozen=True)
class Paragraph:
    text: str


@dataclass(frozen=True)
class Facts:
    """Names and values."""

    rows: Sequence[tuple[str, str]]


@dataclass(frozen=True)
class Table:
    """Rows of cells; the columns in `texts` are texts, the others numbers."""

    head: Sequence[str]
    rows: Sequence[Sequence[Cell]]
    texts: Sequence[int] = (0,)


@dataclass(frozen=True)
class Commands:
    """Command lines to paste."""

    lines: Sequence[str]


@dataclass(frozen=True)
class Chart:
    """Curves in one picture, and points, each with a name. With `log_x` the steps of a curve are log10 of what they
    count.
    """

    title: str
    x_label: str
    curves: Sequence[Curve]
    points: Sequence[Curve] = field(default=())
    log_x: bool = False


Block: TypeAlias = Heading | Paragraph | Facts | Table | Commands | Chart
