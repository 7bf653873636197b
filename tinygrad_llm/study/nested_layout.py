"""Layered layout of a graph whose nodes lie in nested boxes (Sugiyama et al. 1981): rows from top to bottom.

Each box is laid out on its own, the innermost first, and is then one node of the box around it. An edge leaves a box
through a port on its lower edge, and enters one through a port on its upper edge. Within a box

1. the row of an item is one below the lowest row that it reads from;
2. a line that passes through a row gets a stop in it, of the width of a line, so that it crosses no item;
3. rows are sorted to reduce crossings, by the mean position of each item's neighbours;
4. items move towards the mean of their neighbours, as far as their order and spacing allow.

Lines are vertical within rows and curved between them. Units: pixels.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, TypeAlias

PAD = 12.0  # between a box and its contents
TITLE_HEIGHT = 20.0  # of a box
SPACING = 20.0  # between neighbours in a row
ROW_SPACING = 26.0  # between rows, for the curves of lines
SWEEPS, MOVES = 12, 60
STOP_WEIGHT = 1e-3  # of a passing line's position, relative to a node's, where both want the same place
PASSING_PULL = 1e-4  # of a passing line on a node, relative to the pull of its neighbours in the next row


class Point(NamedTuple):
    x: float
    y: float


class Line(NamedTuple):
    """Vertical from the first of four points to the second, curved to the third, vertical to the fourth.

    `producer` is the key of the node whose output it carries.
    """

    producer: int
    points: tuple[Point, ...]
    arrives: bool  # ends at a node, rather than at a port or stop


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
    """The place where a line passes through a row, or through the edge of its box (a port)."""

    width: float = 2.0
    height: float = 0.0
    x: float = 0.0
    y: float = 0.0


@dataclass(eq=False)
class Box:
    """A titled box around `children`, in a topological order."""

    title: str
    title_width: float
    children: list[Leaf | Box]
    width: float = 0.0
    height: float = 0.0
    x: float = 0.0
    y: float = 0.0
    lines: list[Line] = field(default_factory=list)
    inputs: dict[int, float] = field(default_factory=dict)  # x of the port, from the left, by producer
    outputs: dict[int, float] = field(default_factory=dict)

    def nodes(self) -> list[int]:
        return [key for child in self.children for key in child.nodes()]


Item: TypeAlias = "Leaf | Box | Stop"


class Segment(NamedTuple):
    """The part of a line between two rows."""

    upper: Item
    lower: Item
    producer: int

    @property
    def departure(self) -> float:
        """The x at which it leaves the upper item, relative to the item's centre."""
        item = self.upper
        return item.outputs[self.producer] - item.width / 2 if isinstance(item, Box) else 0.0

    @property
    def arrival(self) -> float:
        """The x at which it reaches the lower item, relative to the item's centre."""
        item = self.lower
        return item.inputs[self.producer] - item.width / 2 if isinstance(item, Box) else 0.0


def lay_out(box: Box, edges: Sequence[tuple[int, int]]) -> None:
    """Place `box` and its contents, and draw lines for `edges`, pairs of keys (producer, consumer)."""
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
        x1 = upper.x + upper.width / 2 + segment.departure
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


Wires: TypeAlias = dict[tuple[Item, int], list[Item]]  # (source, producer) to the items that read that output


def _wires(box: Box, edges: Sequence[tuple[int, int]]) -> tuple[dict[int, Stop], dict[int, Stop], Wires]:
    """The input and output ports of a box, and the connections inside it."""
    holder: dict[int, Leaf | Box] = {key: child for child in box.children for key in child.nodes()}
    inputs: dict[int, Stop] = {}
    outputs: dict[int, Stop] = {}
    wires: Wires = {}
    for producer, consumer in edges:
        maker, reader = holder.get(producer), holder.get(consumer)
        if maker is reader:
            continue  # inside one child, or outside this box
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
            row[child] = min(readers) - 1  # an item without inputs goes right above its first reader
    last = max(row.values(), default=0) + 1
    row |= dict.fromkeys(outputs.values(), last)
    rows: list[list[Item]] = [[] for _ in range(last + 1)]
    for item, i in row.items():
        rows[i].append(item)
    return rows


def _segments(rows: list[list[Item]], wires: Wires) -> list[Segment]:
    """The wires divided into segments of one row each; stops are added to the rows that they pass."""
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
    """The positions of an item's neighbours in their rows, with the offsets of ports in boxes."""
    if from_above:
        return [place[s.upper] + s.departure / s.upper.width for s in segments if s.lower is item]
    return [place[s.lower] + s.arrival / s.lower.width for s in segments if s.upper is item]


def _crossings(rows: list[list[Item]], segments: list[Segment]) -> int:
    place = {item: (i, j) for i, row in enumerate(rows) for j, item in enumerate(row)}
    ends = []  # of each segment: its row, and the places of its upper and its lower end among the items of theirs
    for segment in segments:
        (row, upper), (_, lower) = place[segment.upper], place[segment.lower]
        upper_end = upper + segment.departure / segment.upper.width
        ends.append((row, upper_end, lower + segment.arrival / segment.lower.width))
    return sum(
        one[0] == other[0] and (one[1] - other[1]) * (one[2] - other[2]) < 0
        for one, other in itertools.combinations(ends, 2)
    )


def _arrivals(rows: list[list[Item]], segments: list[Segment]) -> dict[Segment, float]:
    """The x of each line's end relative to the centre of its item: at a node evenly spaced, in the order of origin."""
    place = {item: i for row in rows for i, item in enumerate(row)}
    offsets = {segment: segment.arrival for segment in segments}
    for node in [item for row in rows for item in row if isinstance(item, Leaf)]:
        arriving = [segment for segment in segments if segment.lower is node]
        arriving.sort(key=lambda s: place[s.upper] + s.departure / s.upper.width)
        direct = [i for i, segment in enumerate(arriving) if not isinstance(segment.upper, Stop)]
        # The only line from an item in the row above is vertical.
        middle = direct[0] if len(direct) == 1 else (len(arriving) - 1) / 2
        apart = min(1 / (len(arriving) + 1), 0.4 / max(middle, len(arriving) - 1 - middle, 1))  # short of the corners
        for i, segment in enumerate(arriving):
            offsets[segment] = node.width * (i - middle) * apart
    return offsets


def _place_along(rows: list[list[Item]], segments: list[Segment], offsets: dict[Segment, float]) -> None:
    """Set every item's x: as close to its neighbours' as the spacing allows, so that lines are nearly vertical."""
    passing = {item for row in rows[1:-1] for item in row if isinstance(item, Stop)}
    near: dict[Item, list[tuple[Item, float, float]]] = {item: [] for row in rows for item in row}
    for segment in segments:  # an item's neighbours, its offset from each, and the weight of their pull
        upper, lower, right = segment.upper, segment.lower, segment.departure - offsets[segment]
        pull = PASSING_PULL if (upper in passing) != (lower in passing) else 1.0
        near[lower].append((upper, right, pull))
        near[upper].append((lower, -right, pull))
    middle: dict[Item, float] = {}
    for row in rows:
        middle |= zip(row, _apart(row, [0.0] * len(row)), strict=True)
    above = {(segment.lower, segment.upper) for segment in segments}
    for move in range(MOVES):
        down, balance = move % 2 == 1, move >= MOVES // 2  # first from one row only, so that chains become straight
        for row in rows if down else reversed(rows):
            wanted = []
            for item in row:
                pulls = [one for one in near[item] if balance or ((item, one[0]) in above) == down]
                total = sum(pull for _, _, pull in pulls)
                pulled = sum((middle[other] + right) * pull for other, right, pull in pulls)
                wanted.append(pulled / total if total else middle[item])
            middle |= zip(row, _apart(row, wanted), strict=True)
    for item, x in middle.items():
        item.x = x - item.width / 2


def _apart(row: list[Item], wanted: list[float]) -> list[float]:
    """Centres in the row's order and spacing with the least weighted squared distance to `wanted`.

    With the required spacing subtracted, the centres must not decrease; neighbours that would decrease get their
    common mean (isotonic regression by pooling adjacent violators).
    """
    needed = [0.0] if row else []
    for left, right in itertools.pairwise(row):
        needed.append(needed[-1] + (left.width + right.width) / 2 + SPACING)
    groups: list[tuple[float, float, int]] = []  # mean, weight, count
    for item, want, room in zip(row, wanted, needed, strict=True):
        mean, weight, count = want - room, STOP_WEIGHT if isinstance(item, Stop) else 1.0, 1
        while groups and groups[-1][0] > mean:
            other, more, others = groups.pop()
            mean, weight, count = (mean * weight + other * more) / (weight + more), weight + more, count + others
        groups.append((mean, weight, count))
    means = [mean for mean, _, count in groups for _ in range(count)]
    return [mean + room for mean, room in zip(means, needed, strict=True)]


def _place_down(rows: list[list[Item]], has_inputs: bool, has_outputs: bool) -> tuple[list[float], list[float]]:
    """Set every item's y to the middle of its row; returns the upper and lower ends of the rows."""
    tops, bottoms = [0.0], [TITLE_HEIGHT]
    for i, row in enumerate(rows[1:-1]):
        tops.append(bottoms[-1] + (ROW_SPACING if i or has_inputs else 0.0))
        bottoms.append(tops[-1] + max((item.height for item in row), default=0.0))
    tops.append(bottoms[-1] + (ROW_SPACING / 2 if has_outputs else 0.0))
    bottoms.append(tops[-1] + PAD)
    for row, top, bottom in zip(rows, tops, bottoms, strict=True):
        for item in row:
            item.y = top if isinstance(item, Stop) else (top + bottom - item.height) / 2
    return tops, bottoms


def _mean(numbers: Iterable[float], otherwise: float) -> float:
    numbers = list(numbers)
    return sum(numbers) / len(numbers) if numbers else otherwise


def _move(box: Box, right: float, down: float) -> None:
    """Change coordinates from those of the surrounding box to those of the picture."""
    box.x, box.y = box.x + right, box.y + down
    box.lines = [line._replace(points=tuple(Point(x + box.x, y + box.y) for x, y in line.points)) for line in box.lines]
    for child in box.children:
        if isinstance(child, Box):
            _move(child, box.x, box.y)
        else:
            child.x, child.y = child.x + box.x, child.y + box.y
