"""The tape in words: a table with a line for each operation, and a page for one."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tinygrad_llm.study.tape import Entry, Numbers, Operand


def described(entry: Entry) -> str:
    """Everything about one operation: its formula, what it read and made, which gradients passed."""
    where = "no module" if entry.module is None else entry.module or "the model itself"
    lines = [f"#{entry.index} {entry.name}, in {where}, called at {entry.source}"]
    lines += [f"    {line}" for line in entry.formula.splitlines()]
    rows = [(x.name, x.shape, _origin(x)) for x in entry.operands]
    passage = entry.backward
    out = "made" if passage is None else passage.incoming.removeprefix("d")
    kept = f", {bytes_in_words(entry.bytes_kept)} kept for backward" if entry.differentiable else ""
    rows.append((out, entry.shape, _spread(entry.output)))
    lines.append(f"  forward   {time_in_words(entry.seconds)}, {bytes_in_words(entry.bytes_made)} made{kept}")
    lines += _aligned(rows)
    if passage is None:
        return "\n".join(lines)
    rows = [(passage.incoming, passage.dy.shape, f"norm {passage.dy.norm:<9.4g} came in")]
    examples = []
    for x, gradient, beside in zip(entry.operands, passage.gradients, passage.beside, strict=True):
        if gradient is None:
            continue
        rows.append((f"d{x.name}", gradient.shape, f"norm {gradient.norm:<9.4g} goes to {_origin(x)}"))
        if gradient.largest_at is not None:
            there = ", ".join(f"{name} = {value:.4g}" for name, value in beside.items())
            examples.append(
                f"    d{x.name}{list(gradient.largest_at)} = {gradient.largest:.4g}, its largest element"
                + (f"; there {there}" if there else "")
            )
    return "\n".join([*lines, f"  backward  {time_in_words(passage.seconds)}", *_aligned(rows), *examples])


def _aligned(rows: Sequence[tuple[str, tuple[int, ...], str]]) -> list[str]:
    wide = max(len(name) for name, _, _ in rows), max(len(str(shape)) for _, shape, _ in rows)
    return [f"    {name:{wide[0]}}  {shape!s:{wide[1]}}  {rest}" for name, shape, rest in rows]


def _origin(x: Operand) -> str:
    if x.made_by is not None:
        return f"#{x.made_by}"
    return x.parameter or "an input"


def _spread(x: Numbers) -> str:
    if math.prod(x.shape) == 1:
        return f"{x.mean:.6g}"
    words = f"mean {x.mean:.3g}, std {x.std:.3g}, {x.min:.3g} to {x.max:.3g}"
    return ", ".join([words, *_peculiar(x)])


def _peculiar(x: Numbers) -> list[str]:
    """What is worth a word only where it is not 0."""
    shares = ((x.zeros, "zero"), (x.not_finite, "not finite"))
    return [f"{share:.0%} {what}" for share, what in shares if share >= 0.005 or (share and what != "zero")]


def as_table(entries: Sequence[Entry], root: str, title: str) -> str:
    """A line for each operation, under the numbered part of the model that it ran in, or under the model, `root`.

    `reads` are the operations whose results it read, `forth` and `back` the times, `kept` the bytes for backward. The
    norms of the gradients that went out are in the order of its operands, parameters among them.
    """
    head = (
        "#",
        "operation",
        "in",
        "called at",
        "reads",
        "output",
        "mean±std",
        "forth",
        "kept",
        "back",
        "|dy|",
        "|gradients out|",
        "",
    )
    rows: list[tuple[str, ...]] = []
    headings: dict[int, str] = {}
    before = None
    for entry in entries:
        group = _numbered_part(entry.module or "")
        if group != before:
            headings[len(rows)] = group or root
        before = group
        rows.append(_row(entry, group))
    widths = [max(map(len, column)) for column in zip(head, *rows, strict=True)]
    right = {"#", "forth", "kept", "back"}
    lines = []
    for i, row in enumerate([head, *rows]):
        if i - 1 in headings:
            lines.append(headings[i - 1])
        columns = zip(row, widths, head, strict=True)
        cells = [f"{x:>{width}}" if name in right else f"{x:{width}}" for x, width, name in columns]
        lines.append("  ".join(cells).rstrip())
    return "\n".join([title, *lines])


def _numbered_part(path: str) -> str:
    """`blocks.0` of `blocks.0.attention.query`, which nearly all lines share with their neighbours."""
    parts = path.split(".")
    numbered = max((i for i, part in enumerate(parts) if part.isdigit()), default=-1)
    return ".".join(parts[: numbered + 1])


def _row(entry: Entry, group: str) -> tuple[str, ...]:
    inside = None if entry.module is None else entry.module.removeprefix(group).removeprefix(".")
    reads = ", ".join(str(x.made_by) for x in entry.operands if x.made_by is not None)
    passage = entry.backward
    x = entry.output
    return (
        str(entry.index),
        entry.name if len(entry.name) <= 20 else f"{entry.name[:19]}…",
        "-" if inside is None else inside or ".",
        entry.source.rpartition("/")[2].replace(".py:", ":"),
        reads,
        shape_in_words(entry.shape),
        f"{x.mean if abs(x.mean) >= 5e-4 * x.std else 0:.2g}±{x.std:.2g}",
        time_in_words(entry.seconds).replace(" ", ""),
        bytes_in_words(entry.bytes_kept).replace(" ", "") if entry.bytes_kept else "",
        "" if passage is None else time_in_words(passage.seconds).replace(" ", ""),
        "" if passage is None else f"{passage.dy.norm:.2g}",
        "" if passage is None else " ".join("-" if g is None else f"{g.norm:.2g}" for g in passage.gradients),
        f"{x.not_finite:.0%} not finite" if x.not_finite else "",
    )


def shape_in_words(shape: tuple[int, ...]) -> str:
    return "×".join(map(str, shape)) or "scalar"


def time_in_words(seconds: float) -> str:
    return f"{seconds * 1e3:.1f} ms" if seconds >= 1e-3 else f"{seconds * 1e6:.0f} µs"


def bytes_in_words(count: int) -> str:
    size, unit = float(count), "B"
    for larger in ("KB", "MB", "GB"):
        if size < 1000:
            break
        size, unit = size / 1000, larger
    return f"{size:.0f} {unit}" if unit == "B" or size >= 100 else f"{size:.1f} {unit}"
