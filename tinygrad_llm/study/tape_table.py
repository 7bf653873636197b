"""The tape as a table: a line for each operation, in as many columns as fit the terminal."""

from __future__ import annotations

from collections.abc import Sequence

from tinygrad_llm.study.formatting import format_bytes, format_shape, format_time, wrap
from tinygrad_llm.study.tape_entry import Entry

# In the order of the table. If they do not all fit, columns are left out from the end of COLUMN_PRIORITY.
HEADINGS = (
    "#",
    "operation",
    "in",
    "called at",
    "reads",
    "output",
    "mean±std",
    "forward",
    "kept",
    "backward",
    "|dy|",
    "|gradients out|",
    "",  # a warning if elements are not finite
)
COLUMN_PRIORITY = ("#", "operation", "in", "output", "", "|dy|", "kept", "forward", "backward", "reads", "mean±std")
ALWAYS_SHOWN = 5  # of these, from the start
RIGHT_ALIGNED = {"#", "forward", "kept", "backward"}
LONGEST_NAME = 20


def as_table(entries: Sequence[Entry], root: str, title: str, width: int) -> str:
    """A line for each operation, under the numbered part of the model that it ran in, or under the model, `root`.

    `reads` are the operations whose outputs it read, `forward` and `backward` the times, `kept` the bytes kept for
    backward. |dy| is the norm of the incoming gradient; the norms of the outgoing ones are in the order of the
    operands, parameters among them. Columns that do not fit `width` are left out, and named below the table.
    """
    rows: list[tuple[str, ...]] = []
    headings: dict[int, str] = {}
    before = None
    for entry in entries:
        group = _numbered_part(entry.module or "")
        if group != before:
            headings[len(rows)] = group or root
        before = group
        rows.append(_row(entry, group))
    widths = [max(map(len, column)) for column in zip(HEADINGS, *rows, strict=True)]
    shown = _columns_that_fit(dict(zip(HEADINGS, widths, strict=True)), width)
    lines = []
    for i, row in enumerate([HEADINGS, *rows]):
        if i - 1 in headings:
            lines.append(headings[i - 1])
        cells = [
            f"{x:>{wide}}" if name in RIGHT_ALIGNED else f"{x:{wide}}"
            for x, wide, name in zip(row, widths, HEADINGS, strict=True)
            if name in shown
        ]
        lines.append("  ".join(cells).rstrip())
    hidden = [name for name in HEADINGS if name and name not in shown]
    if hidden:
        lines += wrap(f"(in a wider terminal also: {', '.join(hidden)}; table(width=160) has all)", width)
    return "\n".join([*wrap(title, width), *lines])


def _columns_that_fit(widths: dict[str, int], width: int) -> set[str]:
    order = [*COLUMN_PRIORITY, *(name for name in HEADINGS if name not in COLUMN_PRIORITY)]
    shown: set[str] = set()
    used = -2  # columns are two spaces apart
    for place, name in enumerate(order):
        if place >= ALWAYS_SHOWN and used + 2 + widths[name] > width:
            continue
        shown.add(name)
        used += 2 + widths[name] if widths[name] else 0
    return shown


def _numbered_part(path: str) -> str:
    """`blocks.0` of `blocks.0.attention.query`: the prefix that a block's lines share."""
    parts = path.split(".")
    numbered = max((i for i, part in enumerate(parts) if part.isdigit()), default=-1)
    return ".".join(parts[: numbered + 1])


def _row(entry: Entry, group: str) -> tuple[str, ...]:
    inside = None if entry.module is None else entry.module.removeprefix(group).removeprefix(".")
    reads = ", ".join(str(x.made_by) for x in entry.operands if x.made_by is not None)
    call, x = entry.backward, entry.output
    return (
        str(entry.index),
        entry.name if len(entry.name) <= LONGEST_NAME else f"{entry.name[: LONGEST_NAME - 1]}…",
        "-" if inside is None else inside or ".",
        entry.source.rpartition("/")[2].replace(".py:", ":"),
        reads,
        format_shape(entry.shape),
        f"{x.mean if abs(x.mean) >= 5e-4 * x.std else 0:.2g}±{x.std:.2g}",
        format_time(entry.seconds).replace(" ", ""),
        format_bytes(entry.bytes_kept).replace(" ", "") if entry.bytes_kept else "",
        "" if call is None else format_time(call.seconds).replace(" ", ""),
        "" if call is None else f"{call.dy.norm:.2g}",
        "" if call is None else " ".join("-" if g is None else f"{g.norm:.2g}" for g in call.gradients),
        f"{x.not_finite:.0%} not finite" if x.not_finite else "",
    )
