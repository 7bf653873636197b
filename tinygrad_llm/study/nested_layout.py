"""Where to draw a graph whose nodes lie in boxes, and these in others: in rows from top to bottom, lines around nodes.

Each box is arranged for itself, the innermost first, and is then one node of the box around it. An edge that leaves a
box does so through a port: a place on its lower edge, or on the upper edge of the box that it enters. Within a box

1. an item's row is one below the lowest that it reads from;
2. a line that passes a row on its way gets a stop in it, as wide as a line, so that no item lies in its way;
3. rows are sorted until few lines cross (by the mean place of an item's neighbours; Sugiyama et al. 1981);
4. items move to the mean of their neighbours, as near as the order and the room between them allow.

Lines run straight down through rows and bend between them only. Units: pixels.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, TypeAlias

PAD = 12.0  # between a box and what is in it
STRIP = 20.0  # of a box, for its title
BETWEEN = 20.0  # neighbours in a row
BELOW = 26.0  # a row, where lines bend
SWEEPS, MOVES = 12, 60
YIELDING = 1e-3  # how much less a line that passes a row insists on its place than a node does
ASIDE = 1e-4  # how much less a node is drawn to a line that passes rows than to its neighbours in the next


class Point(NamedTuple):
    x: float
    y: float


class Line(NamedTuple):
    """Down from the first point to the second, over to the third, down to the fourth; `producer` is what it carries."""

    producer: int
    points: tuple[Point, Point, Point, Point]
    arrives: bool  # at a node, rather than at a port or stop


@dataclass(eq=False)
class Leaf:
    """A node of the graph, known by its `key`."""

    key: int
    width: float
    height: float
    x: float = 0.0  # of the left upper corner
    y: float = 0.0

    def nodes(self) -> list[int]:
        return [self.key]


@dataclass(eq=False)
class Stop:
    """Where a line passes a row, or the edge of its box."""

    width: float = 2.0
    height: float = 0.0
    x: float = 0.0
    y: float = 0.0


@dataclass(eq=False)
class Box:
    """A titled box around `children`, in an order in which no edge points back."""

    title: str
    title_width: float
    children: list[Leaf | Box]
    width: float = 0.0
    height: float = 0.0
    x: float = 0.0
    y: float = 0.0
    lines: list[Line] = field(default_factory=list)
    inputs: dict[int, float] = field(default_factory=dict)  # the producer, to the port's place from the left
    outputs: dict[int, float] = field(default_factory=dict)

    def nodes(self) -> list[int]:
        return [key for child in self.children for key in child.nodes()]


Item: TypeAlias = "Leaf | Box | Stop"


class Segment(NamedTuple):
    """The piece of a line between two rows."""

    upper: Item
    lower: Item
    producer: int


def lay_out(box: Box, edges: Sequence[tuple[int, int]]) -> None:
    """Give `box` and all in it a place, and the edges, pairs of keys from producer to consumer, their lines."""
    _arrange(box, edges)
    _move(box, 0.0, 0.0)


def _arrange(box: Box, edges: Sequence[tuple[int, int]]) -> None:
    for child in box.children:
        if isinstance(child, Box):
            inside = set(child.nodes())
            _arrange(child, [edge for edge in edges if not inside.isdisjoint(edge)])
    inputs, outputs, wires = _wires(box, edges)
    rows = _rows(box, inputs, outputs, wires)
    segments = _segments(rows, wires)
    rows = _with_few_crossings(rows, segments)
    offsets = _arrivals(rows, segments)
    _place_along(rows, segments, offsets)
    ports = [*inputs.values(), *outputs.values()]
    left = min((item.x for row in rows for item in row), default=0.0)
    clear_of_title = max((box.title_width + 2 * PAD - (port.x - left + PAD) for port in inputs.values()), default=0.0)
    margin = PAD + max(clear_of_title, 0.0)
    for row in rows:
        for item in row:
            item.x += margin - left
    right = max((item.x + item.width for row in rows for item in row if item not in ports), default=margin)
    box.width = max(right + margin, box.title_width + 2 * PAD)
    tops, bottoms = _place_down(rows, bool(inputs), bool(outputs))
    box.height = bottoms[-1]
    box.inputs = {producer: port.x + port.width / 2 for producer, port in inputs.items()}
    box.outputs = {producer: port.x + port.width / 2 for producer, port in outputs.items()}
    row_of = {item: i for i, row in enumerate(rows) for item in row}
    leaving = set(outputs.values())
    for segment in segments:
        upper, lower, producer = segment
        x1 = upper.x + upper.width / 2 + _departure(upper, producer)
        x2 = lower.x + lower.width / 2 + offsets[segment]
        begins = tops[row_of[upper]] if isinstance(upper, Stop) else upper.y + upper.height
        ends = bottoms[row_of[lower]] if lower in leaving else lower.y
        points = (
            Point(x1, begins),
            Point(x1, bottoms[row_of[upper]]),
            Point(x2, tops[row_of[lower]]),
            Point(x2, ends),
        )
        box.lines.append(Line(producer, points, isinstance(lower, Leaf)))


Wires: TypeAlias = dict[tuple[Item, int], list[Item]]  # from an item, with what a producer made, to those that read it


def _wires(box: Box, edges: Sequence[tuple[int, int]]) -> tuple[dict[int, Stop], dict[int, Stop], Wires]:
    """The ports of a box, and what is connected inside it."""
    holder: dict[int, Leaf | Box] = {key: child for child in box.children for key in child.nodes()}
    inputs: dict[int, Stop] = {}
    outputs: dict[int, Stop] = {}
    wires: Wires = {}
    for producer, consumer in edges:
        maker, reader = holder.get(producer), holder.get(consumer)
        if maker is reader:
            continue  # inside of one child, or outside of this box
        source: Item = inputs.setdefault(producer, Stop()) if maker is None else maker
        target: Item = outputs.setdefault(producer, Stop()) if reader is None else reader
        targets = wires.setdefault((source, producer), [])
        if target not in targets:
            targets.append(target)
    return inputs, outputs, wires


def _rows(box: Box, inputs: dict[int, Stop], outputs: dict[int, Stop], wires: Wires) -> list[list[Item]]:
    """Input ports in the first row, output ports in the last."""
    row: dict[Item, int] = dict.fromkeys(inputs.values(), 0)
    for child in box.children:
        row[child] = 1 + max((row[source] for (source, _), targets in wires.items() if child in targets), default=0)
    for child in reversed(box.children):
        readers = [row[t] for (source, _), targets in wires.items() if source is child for t in targets if t in row]
        if readers and not any(child in targets for targets in wires.values()):
            row[child] = min(readers) - 1  # what reads nothing stands right above what reads it
    last = max(row.values(), default=0) + 1
    row |= dict.fromkeys(outputs.values(), last)
    rows: list[list[Item]] = [[] for _ in range(last + 1)]
    for item, i in row.items():
        rows[i].append(item)
    return rows


def _segments(rows: list[list[Item]], wires: Wires) -> list[Segment]:
    """The wires cut into pieces of one row each, for which stops are put into the rows that they pass."""
    row_of = {item: i for i, row in enumerate(rows) for item in row}
    segments = []
    for (source, producer), targets in wires.items():
        lane: list[Item] = [source]
        first = row_of[source]
        for passed in range(first + 1, max(row_of[target] for target in targets)):
            stop = Stop()
            rows[passed].append(stop)
            segments.append(Segment(lane[-1], stop, producer))
            lane.append(stop)
        segments += [Segment(lane[row_of[target] - first - 1], target, producer) for target in targets]
    return segments


def _departure(item: Item, producer: int) -> float:
    """Where below an item, from its middle, a line leaves it."""
    return item.outputs[producer] - item.width / 2 if isinstance(item, Box) else 0.0


def _arrival(item: Item, producer: int) -> float:
    return item.inputs[producer] - item.width / 2 if isinstance(item, Box) else 0.0


def _with_few_crossings(rows: list[list[Item]], segments: list[Segment]) -> list[list[Item]]:
    best, fewest = rows, _crossings(rows, segments)
    for sweep in range(SWEEPS):
        if not fewest:
            break
        place = {item: float(i) for row in rows for i, item in enumerate(row)}
        rows = [list(row) for row in rows]
        for row in rows if sweep % 2 else reversed(rows):
            means = {item: _mean(_pulls(item, segments, place, bool(sweep % 2)), place[item]) for item in row}
            row.sort(key=means.__getitem__)
            place |= {item: float(i) for i, item in enumerate(row)}
        now = _crossings(rows, segments)
        if now < fewest:
            best, fewest = rows, now
    return best


def _pulls(item: Item, segments: list[Segment], place: dict[Item, float], from_above: bool) -> list[float]:
    """The places of an item's neighbours, in rows' units: a box's port counts as a part of its place."""
    if from_above:
        return [place[s.upper] + _departure(s.upper, s.producer) / s.upper.width for s in segments if s.lower is item]
    return [place[s.lower] + _arrival(s.lower, s.producer) / s.lower.width for s in segments if s.upper is item]


def _crossings(rows: list[list[Item]], segments: list[Segment]) -> int:
    place = {item: (i, float(j)) for i, row in enumerate(rows) for j, item in enumerate(row)}
    ends = []
    for upper, lower, producer in segments:
        row, left = place[upper]
        ends.append(
            (
                row,
                left + _departure(upper, producer) / upper.width,
                place[lower][1] + _arrival(lower, producer) / lower.width,
            )
        )
    return sum(
        one[0] == other[0] and (one[1] - other[1]) * (one[2] - other[2]) < 0
        for i, one in enumerate(ends)
        for other in ends[:i]
    )


def _arrivals(rows: list[list[Item]], segments: list[Segment]) -> dict[Segment, float]:
    """Where above an item, from its middle, each line arrives: at a node side by side, in the order they come from."""
    place = {item: i for row in rows for i, item in enumerate(row)}
    offsets = {segment: _arrival(segment.lower, segment.producer) for segment in segments}
    for node in [item for row in rows for item in row if isinstance(item, Leaf)]:
        arriving = [segment for segment in segments if segment.lower is node]
        arriving.sort(key=lambda s: place[s.upper] + _departure(s.upper, s.producer) / s.upper.width)
        direct = [i for i, segment in enumerate(arriving) if not isinstance(segment.upper, Stop)]
        middle = direct[0] if len(direct) == 1 else (len(arriving) - 1) / 2  # what alone comes from the row above
        apart = min(1 / (len(arriving) + 1), 0.4 / max(middle, len(arriving) - 1 - middle, 1))  # short of the corners
        for i, segment in enumerate(arriving):
            offsets[segment] = node.width * (i - middle) * apart
    return offsets


def _place_along(rows: list[list[Item]], segments: list[Segment], offsets: dict[Segment, float]) -> None:
    """Give every item its x, as near to straight above and below its neighbours as there is room."""
    passing = {item for row in rows[1:-1] for item in row if isinstance(item, Stop)}
    near: dict[Item, list[tuple[Item, float, float]]] = {item: [] for row in rows for item in row}
    for segment in segments:  # an item's neighbours, how far right of them it belongs, and how strongly they pull
        upper, lower, producer = segment
        right = _departure(upper, producer) - offsets[segment]
        pull = ASIDE if (upper in passing) != (lower in passing) else 1.0
        near[lower].append((upper, right, pull))
        near[upper].append((lower, -right, pull))
    middle: dict[Item, float] = {}
    for row in rows:
        middle |= zip(row, _apart(row, [0.0] * len(row)), strict=True)
    above = {segment.upper: set[Item]() for segment in segments} | {segment.lower: set[Item]() for segment in segments}
    for segment in segments:
        above[segment.lower].add(segment.upper)
    for move in range(MOVES):
        down, balance = move % 2 == 1, move >= MOVES // 2  # first as the row before, so that chains become straight
        for row in rows if down else reversed(rows):
            wanted = []
            for item in row:
                pulls = [one for one in near[item] if balance or (one[0] in above[item]) == down]
                total = sum(pull for _, _, pull in pulls)
                pulled = sum((middle[other] + right) * pull for other, right, pull in pulls)
                wanted.append(pulled / total if total else middle[item])
            middle |= zip(row, _apart(row, wanted), strict=True)
    for item, x in middle.items():
        item.x = x - item.width / 2


def _apart(row: list[Item], wanted: list[float]) -> list[float]:
    """Middles in the row's order, with room between them, whose weighted squared distance to `wanted` is the least.

    Without the room needed up to each item, these may only not decrease; neighbours that would, share their mean.
    """
    needed = [0.0] if row else []
    for left, right in itertools.pairwise(row):
        needed.append(needed[-1] + (left.width + right.width) / 2 + BETWEEN)
    groups: list[tuple[float, float, int]] = []  # mean, weight, how many
    for item, want, room in zip(row, wanted, needed, strict=True):
        mean, weight, count = want - room, YIELDING if isinstance(item, Stop) else 1.0, 1
        while groups and groups[-1][0] > mean:
            other, more, others = groups.pop()
            mean, weight, count = (mean * weight + other * more) / (weight + more), weight + more, count + others
        groups.append((mean, weight, count))
    means = [mean for mean, _, count in groups for _ in range(count)]
    return [mean + room for mean, room in zip(means, needed, strict=True)]


def _place_down(rows: list[list[Item]], has_inputs: bool, has_outputs: bool) -> tuple[list[float], list[float]]:
    """Give every item its y, in the middle of its row; returns the rows' upper and lower ends."""
    tops, bottoms = [0.0], [STRIP]
    for i, row in enumerate(rows[1:-1]):
        tops.append(bottoms[-1] + (BELOW if i or has_inputs else 0.0))
        bottoms.append(tops[-1] + max((item.height for item in row), default=0.0))
    tops.append(bottoms[-1] + (BELOW / 2 if has_outputs else 0.0))
    bottoms.append(tops[-1] + PAD)
    for row, top, bottom in zip(rows, tops, bottoms, strict=True):
        for item in row:
            item.y = top if isinstance(item, Stop) else (top + bottom - item.height) / 2
    return tops, bottoms


def _mean(numbers: Iterable[float], otherwise: float) -> float:
    numbers = list(numbers)
    return sum(numbers) / len(numbers) if numbers else otherwise


def _move(box: Box, right: float, down: float) -> None:
    """From places within the box around it to places in the picture."""
    box.x, box.y = box.x + right, box.y + down
    moved: Callable[[Point], Point] = lambda point: Point(point.x + box.x, point.y + box.y)  # noqa: E731
    box.lines = [
        Line(line.producer, tuple(moved(point) for point in line.points), line.arrives)  # type: ignore[arg-type]
        for line in box.lines
    ]
    for child in box.children:
        if isinstance(child, Box):
            _move(child, box.x, box.y)
        else:
            child.x, child.y = child.x + box.x, child.y + box.y
