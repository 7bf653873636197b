"""The results of the verification as a table for the terminal, as JSON, and as a page."""

from __future__ import annotations

import html
import re
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from tinygrad_llm.anomaly import PACKAGE
from tinygrad_llm.verify.proof import Proof

EXPLANATION = (
    "A gradient says how fast the result changes with an input, so it can be measured: move the input a little, and "
    "compare the slope of the result with the gradient that backward computes. `slope error` is the largest relative "
    "difference found. `exact` counts the slopes measured by the complex step, which has no error of its own; the "
    "others are central differences. `fused error` is the largest difference between a fused op and its definition in "
    "primitives."
)

# Heading and width of each column in the terminal, 80 columns together; the headings of the page are the same.
COLUMNS = (
    ("kind", 9),
    ("name", 28),
    ("cases", 5),
    ("slopes", 6),
    ("exact", 5),
    ("slope error", 7),
    ("fused error", 7),
    ("", 5),
)
LEFT_ALIGNED = (0, 1, 7)
RESULT = "verdict"


def cells(proof: Proof) -> tuple[str, ...]:
    return (
        proof.group,
        proof.name,
        str(proof.cases),
        str(proof.slopes),
        str(proof.exact),
        f"{proof.worst_slope:.1e}",
        "" if proof.worst_fused is None else f"{proof.worst_fused:.1e}",
        "ok" if proof.ok else "WRONG",
    )


def table_head() -> str:
    """The headings, those of two words in two lines."""
    words = [heading.split(" ") for heading, _ in COLUMNS]
    upper = tuple(pair[0] if len(pair) == 2 else "" for pair in words)
    return f"{_line(upper)}\n{_line(tuple(pair[-1] for pair in words))}"


def table_row(proof: Proof) -> str:
    return _line(cells(proof))


def _line(texts: Sequence[str]) -> str:
    padded = [
        text.ljust(width) if i in LEFT_ALIGNED else text.rjust(width)
        for i, (text, (_, width)) in enumerate(zip(texts, COLUMNS, strict=True))
    ]
    return " ".join(padded).rstrip()


def as_json(proofs: Sequence[Proof]) -> dict[str, Any]:
    return {"ok": all(proof.ok for proof in proofs), "proofs": [asdict(proof) for proof in proofs]}


def as_html(proofs: Sequence[Proof]) -> str:
    """The results as a self-contained page without scripts; each row links to the source of what it verifies."""
    wrong = [proof for proof in proofs if not proof.ok]
    verdict = f"{len(wrong)} of {len(proofs)} are wrong" if wrong else f"All {len(proofs)} are right"
    headings = [*(heading or RESULT for heading, _ in COLUMNS), "source"]
    head = "".join(f'<th scope="col">{html.escape(heading)}</th>' for heading in headings)
    lines = []
    for proof in proofs:
        row = "".join(f"<td>{html.escape(cell)}</td>" for cell in cells(proof))
        lines.append(f'<tr class="{"ok" if proof.ok else "wrong"}">{row}<td>{_link(proof.source)}</td></tr>')
        if proof.problem:
            lines.append(f'<tr class="wrong"><td colspan="{len(headings)}">{html.escape(proof.problem)}</td></tr>')
    return PAGE.format(
        verdict=verdict,
        explanation=re.sub("`(.*?)`", r"<b>\1</b>", html.escape(EXPLANATION)),
        head=head,
        lines="\n".join(lines),
        cases=f"{sum(proof.cases for proof in proofs):,}",
        slopes=f"{sum(proof.slopes for proof in proofs):,}",
    )


def _link(source: str) -> str:
    """A link to a source file of this installation, shown as its path in the package and the line."""
    if not source:
        return ""
    file, _, line = source.rpartition(":")
    package = Path(PACKAGE).resolve().parent
    shown = Path(file).relative_to(package).as_posix() if Path(file).is_relative_to(package) else Path(file).name
    return f'<a href="{html.escape(Path(file).as_uri())}#L{line}">{html.escape(shown)}:{line}</a>'


PAGE = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{verdict}: the gradients of tinygrad_llm</title>
<style>
:root {{ color-scheme: light dark; }}
body {{ font: 16px/1.5 system-ui, sans-serif; max-width: 72rem; margin: 2rem auto; padding: 0 1rem; }}
.table {{ overflow-x: auto; }}
table {{ border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; }}
th {{ text-align: left; border-bottom: 2px solid; vertical-align: bottom; }}
th, td {{ padding: .2rem .6rem .2rem 0; }}
td {{ border-bottom: 1px solid color-mix(in srgb, currentColor 15%, transparent); }}
td:nth-child(n+3):nth-child(-n+7), th:nth-child(n+3):nth-child(-n+7) {{ text-align: right; }}
td:nth-child(n+8), th:nth-child(n+8) {{ padding-left: .6rem; }}
tr.wrong {{ background: light-dark(#ffd9d6, #5c1a16); font-weight: 600; }}
</style>
<h1>{verdict}</h1>
<p>{explanation}</p>
<p>{cases} cases, {slopes} slopes.</p>
<div class="table">
<table>
<thead><tr>{head}</tr></thead>
<tbody>
{lines}
</tbody>
</table>
</div>
</html>
"""
