"""The tape as a graph, drawn as SVG or written for Graphviz: a box for each module, forward from top to bottom.

Opened by itself in a browser, the SVG folds a module where its title is clicked, and zooms; see tape_drawing.js.
"""

from __future__ import annotations

import importlib.resources
import textwrap
from collections.abc import Iterator, Sequence
from html import escape

from tinygrad_llm.study.formatting import format_bytes, format_count, format_shape, format_time
from tinygrad_llm.study.nested_layout import PAD, Box, Leaf, Line, lay_out
from tinygrad_llm.study.tape_entry import Entry

# Units: pixels.
LETTER = 0.61  # width of a letter in a monospaced font, in font sizes, rounded up
NAME, SMALL, HEADING = 12.0, 10.5, 14.0  # font sizes
MARGIN = 20.0
MIN_WIDTH = 660.0  # of the picture, for its heading and legend
NODE_HEIGHT = 54.0
LEGEND = (("node parametric", "reads parameters"), ("node", "reads none"), ("node view", "a view of its operand"))
TOOLS = {"fold": "fold all", "unfold": "unfold all", "smaller": "zoom out", "larger": "zoom in"}
TITLE_WIDTH = 120  # columns of a node's description, which is shown under the pointer

STYLE = """
svg { background: #ffffff; --ink: #1c2330; --faint: #566072; --line: #7b8698; --box: #bfc7d4; --fill: #4a6fa50d;
  --node: #ffffff; --edge: #8a94a6; --parametric: #e3edff; --parametric-edge: #4d7bd6; }
@media (prefers-color-scheme: dark) {
  svg { background: #14181f; --ink: #e8ecf3; --faint: #a8b2c2; --line: #8794aa; --box: #455063; --fill: #8fb0e80d;
    --node: #232b37; --edge: #6d7a90; --parametric: #1f3358; --parametric-edge: #6f9bf0; }
}
text { font-family: ui-monospace, "DejaVu Sans Mono", Menlo, Consolas, monospace; font-size: 10.5px;
  fill: var(--faint); }
.heading { font-size: 14px; font-weight: 600; fill: var(--ink); }
.module > rect { fill: var(--fill); stroke: var(--box); }
.node rect { fill: var(--node); stroke: var(--edge); } .node .name { font-size: 12px; fill: var(--ink); }
.node.parametric rect { fill: var(--parametric); stroke: var(--parametric-edge); }
.node.view rect { stroke-dasharray: 4 3; }
.node:hover rect { stroke-width: 2.5; }
.line path { fill: none; stroke: var(--line); stroke-width: 1.3; }
.title { cursor: pointer; } .title:hover, #tools text:hover { fill: var(--ink); text-decoration: underline; }
.summary { visibility: hidden; } .folded > .summary { visibility: visible; }
.folded > .module, .folded > .node, .folded > .line { display: none; }
#tools text { cursor: pointer; fill: var(--ink); }
.line:hover path { stroke: var(--ink); stroke-width: 2.5; } #head path { fill: var(--line); }
"""


def as_svg(entries: Sequence[Entry], root: str, title: str) -> str:
    """A self-contained SVG picture, in light or dark colours as the reader's system prefers.

    A node is an operation with the shape of its output; its description appears under the pointer.
    """
    names = _names(entries)
    top = _tree(entries, root, names)
    lay_out(top, _edges(entries))
    wide = max(top.width, MIN_WIDTH)
    heading = [(root or "Operations", "heading")]
    heading += [(line, "") for line in textwrap.wrap(title, int(wide / (SMALL * LETTER)))]
    above = MARGIN + 18 * len(heading) + 34
    width, height = wide + 2 * MARGIN, above + top.height + MARGIN
    headings = [
        f'<text class="{kind}" x="{MARGIN:g}" y="{MARGIN + 12 + 18 * i:g}">{escape(line)}</text>'
        for i, (line, kind) in enumerate(heading)
    ]
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:.0f} {height:.0f}" width="{width:.0f}" '
        f'height="{height:.0f}" role="img">',
        f"<title>{escape(f'{heading[0][0]}: {title}')}</title>",
        f"<style>{STYLE}</style>",
        '<marker id="head" viewBox="0 0 8 8" refX="7.5" refY="4" markerWidth="7" markerHeight="7" orient="auto">'
        '<path d="M0 0.5 L8 4 L0 7.5 z"/></marker>',
        *headings,
        *_legend(MARGIN, above - 30),
        *_tools(width - MARGIN, MARGIN + 12),
        f'<g id="canvas" transform="translate({(width - top.width) / 2:.1f} {above:.1f})">',
        *_inside(top, entries, names),
        "</g>",
        f"<script><![CDATA[{_script()}]]></script>",
        "</svg>",
    ]
    return "\n".join(parts) + "\n"


def as_dot(entries: Sequence[Entry], root: str) -> str:
    """The same boxes and nodes in Graphviz's language: `dot -Tsvg tape.dot`."""
    names = _names(entries)
    lines = ["digraph tape {", "  node [shape=box, style=rounded, fontname=monospace];"]
    lines += _clusters(_tree(entries, root, names), entries, names, [0])
    for producer, consumer in _edges(entries):
        lines.append(f'  "{producer}" -> "{consumer}" [tooltip={_quoted(_label(entries[producer]))}];')
    return "\n".join([*lines, "}"]) + "\n"


# -- the graph


def _edges(entries: Sequence[Entry]) -> list[tuple[int, int]]:
    """Pairs from each operation to those that read its output, without repetitions."""
    return list({(x.made_by, entry.index): None for entry in entries for x in entry.operands if x.made_by is not None})


def _names(entries: Sequence[Entry]) -> dict[int, str]:
    """The label of each node."""
    return {entry.index: entry.name for entry in entries}


def _tree(entries: Sequence[Entry], root: str, names: dict[int, str]) -> Box:
    """A box for each run of operations in one module, inside the box of the module that called it.

    A module of one operation gets no box; its name becomes part of the node's label in `names`.
    """
    top = Box("", 0.0, [])
    open_boxes: list[tuple[str, Box]] = []
    calls: list[tuple[Box, Box]] = []  # the surrounding box, and the box
    for entry in entries:
        shared = 0  # modules that the entry shares with the one before
        while shared < min(len(open_boxes), len(entry.modules)) and open_boxes[shared][0] == entry.modules[shared]:
            shared += 1
        del open_boxes[shared:]
        for path in entry.modules[shared:]:
            parent = open_boxes[-1][1] if open_boxes else top
            inside = open_boxes[-1][0] if open_boxes else ""
            title = path.removeprefix(f"{inside}.") or root
            box = Box(title, len(title) * SMALL * LETTER, [])
            parent.children.append(box)
            calls.append((parent, box))
            open_boxes.append((path, box))
        (open_boxes[-1][1] if open_boxes else top).children.append(Leaf(entry.index, 0.0, NODE_HEIGHT))
    for parent, box in reversed(calls):
        if len(box.children) == 1 and isinstance(leaf := box.children[0], Leaf) and parent is not top:
            if box.title != names[leaf.key]:
                names[leaf.key] = f"{box.title}: {names[leaf.key]}"
            parent.children[parent.children.index(box)] = leaf
    for leaf in _leaves(top):
        entry = entries[leaf.key]
        lines = ((names[leaf.key], NAME), (_numbers(entry), SMALL), (_costs(entry), SMALL))
        leaf.width = max(len(line) * size * LETTER for line, size in lines) + 2 * PAD
    return top


def _leaves(box: Box) -> Iterator[Leaf]:
    for child in box.children:
        if isinstance(child, Box):
            yield from _leaves(child)
        else:
            yield child


def _numbers(entry: Entry) -> str:
    """The second line of a node: the output's shape, mean and standard deviation, and the norm of its gradient."""
    x = entry.output
    text = f"{format_shape(entry.shape)}  {x.mean if abs(x.mean) >= 5e-4 * x.std else 0:.2g}±{x.std:.2g}"
    return text if entry.backward is None else f"{text}  |d| {entry.backward.dy.norm:.2g}"


def _costs(entry: Entry) -> str:
    """The third line of a node: the times of forward and backward, and the bytes kept for backward."""
    times = [format_time(entry.seconds), *([] if entry.backward is None else [format_time(entry.backward.seconds)])]
    return " / ".join(times) + (f"  {format_bytes(entry.bytes_kept)} kept" if entry.bytes_kept else "")


def _label(entry: Entry) -> str:
    return f"#{entry.index} {entry.name}: {_numbers(entry)}"


def _kind(entry: Entry) -> str:
    if any(x.parameter for x in entry.operands):
        return "node parametric"
    return "node" if entry.bytes_made else "node view"


# -- SVG


def _inside(box: Box, entries: Sequence[Entry], names: dict[int, str]) -> Iterator[str]:
    for line in box.lines:
        yield _line(line, entries[line.producer])
    for child in box.children:
        if isinstance(child, Box):
            yield '<g class="module">'
            yield f"<rect {_place(child.x, child.y, child.width, child.height)}/>"
            left = child.x + PAD / 2
            yield f'<text class="title" x="{left:.1f}" y="{child.y + 15:.1f}">{escape(child.title)}</text>'
            summary = _summary(child, entries)
            yield f'<text class="summary" x="{left:.1f}" y="{child.y + 31:.1f}">{summary}</text>'
            yield from _inside(child, entries, names)
            yield "</g>"
        else:
            yield _node(child, entries[child.key], names[child.key])


def _node(leaf: Leaf, entry: Entry, name: str) -> str:
    middle = leaf.x + leaf.width / 2
    return (
        f'<g class="{_kind(entry)}" id="op{entry.index}"><title>{escape(entry.describe(TITLE_WIDTH))}</title>'
        f"<rect {_place(leaf.x, leaf.y, leaf.width, leaf.height)}/>"
        f'<text class="name" text-anchor="middle" x="{middle:.1f}" y="{leaf.y + 17:.1f}">{escape(name)}</text>'
        f'<text text-anchor="middle" x="{middle:.1f}" y="{leaf.y + 32:.1f}">{escape(_numbers(entry))}</text>'
        f'<text text-anchor="middle" x="{middle:.1f}" y="{leaf.y + 46:.1f}">{escape(_costs(entry))}</text></g>'
    )


def _line(line: Line, producer: Entry) -> str:
    (x1, y1), (_, y2), (x2, y3), (_, y4) = line.points
    bend = (y2 + y3) / 2
    first = "" if y1 == y2 else f" V{y2:.1f}"
    # The arrowhead takes its direction from the last segment, which must not have length 0.
    last = "" if y3 == y4 else f" V{y4:.1f}"
    curve = f" C{x1:.1f} {bend:.1f} {x2:.1f} {bend:.1f} {x2:.1f} {y3:.1f}"
    head = ' marker-end="url(#head)"' if line.arrives else ""
    return (
        f'<g class="line"><title>{escape(_label(producer))}</title>'
        f'<path d="M{x1:.1f} {y1:.1f}{first}{curve}{last}"{head}/></g>'
    )


def _place(x: float, y: float, width: float, height: float) -> str:
    return f'x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{height:.1f}" rx="6"'


def _legend(x: float, y: float) -> Iterator[str]:
    for kind, meaning in LEGEND:
        yield f'<g class="{kind} legend"><rect {_place(x, y, 22, 14)}/></g>'
        yield f'<text x="{x + 28:g}" y="{y + 11:g}">{meaning}</text>'
        x += 28 + len(meaning) * SMALL * LETTER + 18
    yield f'<text x="{x:g}" y="{y + 11:g}">mean±std  |d| norm of its gradient  forward / backward</text>'


def _tools(right: float, y: float) -> Iterator[str]:
    """Words to click on, which the script shows; without it they would do nothing."""
    yield '<g id="tools" visibility="hidden">'
    for act, words in reversed(TOOLS.items()):
        right -= len(words) * SMALL * LETTER
        yield f'<text data-act="{act}" x="{right:.1f}" y="{y:g}">{words}</text>'
        right -= 14
    yield "</g>"


def _script() -> str:
    return importlib.resources.files("tinygrad_llm.study").joinpath("tape_drawing.js").read_text("utf-8")


def _summary(box: Box, entries: Sequence[Entry]) -> str:
    """A folded box in a line: its operations, their time, and the bytes that they keep."""
    inside = [entries[key] for key in box.nodes()]
    seconds = sum(entry.seconds + (entry.backward.seconds if entry.backward else 0.0) for entry in inside)
    kept = sum(entry.bytes_kept for entry in inside)
    return f"{format_count(len(inside), 'op')}, {format_time(seconds)}, {format_bytes(kept)} kept"


# -- Graphviz


def _clusters(box: Box, entries: Sequence[Entry], names: dict[int, str], count: list[int]) -> Iterator[str]:
    for child in box.children:
        if isinstance(child, Box):
            count[0] += 1
            yield f"  subgraph {_quoted(f'cluster_{count[0]}')} {{"
            yield f"  label={_quoted(child.title)};"
            yield from _clusters(child, entries, names, count)
            yield "  }"
        else:
            entry = entries[child.key]
            label = _quoted(f"{names[child.key]}\n{_numbers(entry)}")
            yield f'  "{child.key}" [label={label}, tooltip={_quoted(entry.describe(TITLE_WIDTH))}];'


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{escaped}"'
