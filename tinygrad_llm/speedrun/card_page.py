"""A document as one HTML page without scripts: it needs no network, and has the look of the other pages."""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Iterable
from html import escape

from tinygrad_llm.speedrun.chart_svg import chart_svg
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
from tinygrad_llm.web.page_files import page_files

STYLE = """
main { max-width: 62rem; margin: 0 auto; padding-top: 1.5rem; }
h1 { font: 500 clamp(1.7rem, 1.3rem + 2vw, 2.6rem)/1.15 var(--serif); text-wrap: balance; margin-bottom: .8rem; }
h2 { margin: 2.6rem 0 .7rem; }
p, .facts, pre, .scroll, figure { margin: .7rem 0; }
p { max-width: 46rem; }
pre { background: var(--sunken); border: 1px solid var(--line); border-radius: .4rem; padding: .6rem .9rem; }
pre code { display: block; white-space: pre-wrap; padding-left: 2ch; text-indent: -2ch; }
.scroll { max-height: none; overflow: auto hidden; }
th, td { padding-right: 1.1rem; vertical-align: top; }
thead th { white-space: normal; vertical-align: bottom; }
th.text, td.text { text-align: left; }
td.text { min-width: 6.5rem; overflow-wrap: anywhere; }
td.text:first-child > code { white-space: nowrap; }
td code { white-space: pre-wrap; }
.right::before { content: "✓ "; color: var(--good); }
.wrong::before { content: "✗ "; color: var(--warm); }
.share { white-space: nowrap; }
.share svg { width: 4.5rem; height: .6rem; margin-left: .5rem; vertical-align: baseline; }
.share rect { fill: var(--masked); }
.share .part { fill: var(--accent); }
figure svg { display: block; width: 100%; max-width: 46rem; height: auto; }
figure text { font: 12px var(--sans); fill: var(--faint); }
figure .grid { stroke: var(--line); }
figcaption { font-size: .92rem; }
.curve { fill: none; stroke-width: 2; }
.point { fill: var(--paper); stroke-width: 2; }
.key { font-weight: 600; }
.c0 { stroke: var(--accent); }
.c1 { stroke: var(--warm); }
.c2 { stroke: var(--good); }
.k0 { color: var(--accent); }
.k1 { color: var(--warm); }
.k2 { color: var(--good); }
@media (max-width: 40rem) {
  .share svg { display: none; }
  th, td { padding-right: .7rem; }
}
"""


def as_page(blocks: Iterable[Block]) -> str:
    """The document as a page. The policy admits the styles of this file alone."""
    styles = page_files("web")["base.css"] + STYLE
    policy = f"default-src 'none'; style-src '{_hash_of(styles)}'; base-uri 'none'; form-action 'none'"
    blocks = list(blocks)
    title = next((block.text for block in blocks if isinstance(block, Heading)), "")
    body = "\n".join(map(_block, blocks))
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(title)}</title>\n<style>{styles}</style>\n</head>\n"
        f"<body>\n<main>\n{body}\n</main>\n</body>\n</html>\n"
    )


def _hash_of(text: str) -> str:
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"


def _block(block: Block) -> str:
    match block:
        case Heading(text, level):
            return f"<h{level}>{_inline(text)}</h{level}>"
        case Paragraph(text):
            return f"<p>{_inline(text)}</p>"
        case Facts(rows):
            facts = "".join(f"<dt>{_inline(name)}</dt><dd>{_inline(value)}</dd>" for name, value in rows)
            return f'<dl class="facts">{facts}</dl>'
        case Commands(lines):
            return f"<pre>{''.join(f'<code>{escape(line)}</code>' for line in lines)}</pre>"
        case Table(head, rows, texts):
            return _table(head, rows, texts)
        case Chart():
            return f"<figure>{_caption(block)}{chart_svg(block)}</figure>"


def _caption(chart: Chart) -> str:
    names = [curve.name for curve in (*chart.curves, *chart.points)]
    keys = ", ".join(f'<span class="key k{number % 3}">{escape(name)}</span>' for number, name in enumerate(names))
    return f"<figcaption>{_inline(chart.title)}: {keys}</figcaption>"


def _table(head: Iterable[str], rows: Iterable[Iterable[Cell]], texts: Iterable[int]) -> str:
    def kind(column: int) -> str:
        return ' class="text"' if column in texts else ""

    names = "".join(f'<th scope="col"{kind(column)}>{_inline(name)}</th>' for column, name in enumerate(head))
    lines = "".join(
        f"<tr>{''.join(f'<td{kind(column)}>{_cell(cell)}</td>' for column, cell in enumerate(row))}</tr>"
        for row in rows
    )
    return (
        f'<div class="scroll" tabindex="0"><table><thead><tr>{names}</tr></thead><tbody>{lines}</tbody></table></div>'
    )


def _cell(cell: Cell) -> str:
    match cell:
        case Share(value):
            bar = f'<rect width="100" height="10"/><rect class="part" width="{100 * value:.1f}" height="10"/>'
            drawn = f'<svg viewBox="0 0 100 10" preserveAspectRatio="none" aria-hidden="true">{bar}</svg>'
            return f'<span class="share">{value:.0%}{drawn}</span>'
        case Verbatim(text, right):
            mark = {True: ' class="right" title="right"', False: ' class="wrong" title="wrong"', None: ""}[right]
            shown = (
                f"<code>{escape(escape_controls(text))}</code>" if text.strip() else '<span class="faint">empty</span>'
            )
            return f"<span{mark}>{shown}</span>"
        case _:
            return _inline(str(cell))


def _inline(text: str) -> str:
    return re.sub("`(.*?)`", r"<code>\1</code>", escape(text))
