"""The results of the verification as a table for the terminal, as JSON, and as a page."""

from __future__ import annotations

import html
import inspect
import linecache
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
    """The results as a self-contained page without scripts.

    Each row links to the source of what it verifies, which stands below the table.
    """
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
        sources="\n".join(_listing(source) for source in dict.fromkeys(proof.source for proof in proofs) if source),
        cases=f"{sum(proof.cases for proof in proofs):,}",
        slopes=f"{sum(proof.slopes for proof in proofs):,}",
    )


def _link(source: str) -> str:
    """A link to the listing of a source, a file and line of this installation."""
    return f'<a href="#{_anchor(source)}">{html.escape(_shown(source))}</a>' if source else ""


def _shown(source: str) -> str:
    """A source with its path in the package."""
    file, _, line = source.rpartition(":")
    package = Path(PACKAGE).resolve().parent
    path = Path(file).relative_to(package).as_posix() if Path(file).is_relative_to(package) else Path(file).name
    return f"{path}:{line}"


def _anchor(source: str) -> str:
    return re.sub(r"[^\w.-]", "-", _shown(source))


def _listing(source: str) -> str:
    """The function or class that begins at a source, with line numbers and a link to its file on this machine."""
    file, _, line = source.rpartition(":")
    first = int(line)
    block = inspect.getblock(linecache.getlines(file)[first - 1 :])
    code = "".join(f"{number:5}  {html.escape(text)}" for number, text in enumerate(block, first))
    return (
        f'<section id="{_anchor(source)}"><h2><a href="{html.escape(Path(file).as_uri())}">'
        f'{html.escape(_shown(source))}</a></h2><pre tabindex="0">{code}</pre></section>'
    )


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
pre {{ overflow-x: auto; font: 13px/1.5 ui-monospace, monospace; padding: .6rem; border: 1px solid; }}
h2 {{ font-size: 1rem; margin: 2rem 0 .4rem; }}
section:target pre {{ outline: 3px solid; }}
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
{sources}
</html>
"""
