"""Any graph of nested boxes is laid out in rows, without overlap."""

import itertools
from typing import Any

from hypothesis import example, given
from hypothesis import strategies as st

from tinygrad_llm.study.nested_layout import Box, Leaf, lay_out


@st.composite
def nested_graphs(draw: st.DrawFn) -> tuple[Any, ...]:
    """Nested boxes of up to 14 nodes of any size, and edges in topological order."""
    count = draw(st.integers(1, 14))
    sizes = draw(st.lists(st.tuples(st.integers(1, 300), st.integers(1, 90)), min_size=count, max_size=count))
    root = Box("root", 20.0, [])
    open_boxes = [root]
    for key, (width, height) in enumerate(sizes):
        for _ in range(draw(st.integers(0, 2))):
            if len(open_boxes) > 1 and draw(st.booleans()):
                open_boxes.pop()
            else:
                box = Box("a title", float(draw(st.integers(0, 200))), [])
                open_boxes[-1].children.append(box)
                open_boxes.append(box)
        open_boxes[-1].children.append(Leaf(key, float(width), float(height)))
    pairs = [(a, b) for b in range(count) for a in range(b)]
    edges = draw(st.lists(st.sampled_from(pairs), unique=True, max_size=20)) if pairs else []
    return root, edges


def overlap(one: tuple[Any, ...], other: tuple[Any, ...]) -> bool:
    return one[0] < other[2] and other[0] < one[2] and one[1] < other[3] and other[1] < one[3]


def inside(inner: tuple[Any, ...], outer: tuple[Any, ...]) -> bool:
    return outer[0] <= inner[0] and outer[1] <= inner[1] and inner[2] <= outer[2] and inner[3] <= outer[3]


def frame(item: Box | Leaf) -> tuple[float, ...]:
    return item.x, item.y, item.x + item.width, item.y + item.height


def everything(box: Box) -> list:
    return [
        part for child in box.children for part in ([child, *everything(child)] if isinstance(child, Box) else [child])
    ]


def all_into_the_last() -> tuple[Box, list]:
    return Box("", 0.0, [Leaf(i, 100.0, 20.0) for i in range(4)]), [(0, 1), (0, 2), (0, 3), (1, 3), (2, 3)]


@given(nested_graphs())
@example(all_into_the_last())
def test_any_graph_is_laid_out_without_overlap(graph: tuple[Any, ...]) -> None:
    root, edges = graph
    lay_out(root, edges)
    parts = everything(root)
    leaves = {part.key: part for part in parts if isinstance(part, Leaf)}
    boxes = [root, *(part for part in parts if isinstance(part, Box))]
    slack = 1e-6
    for box in boxes:
        for child in box.children:
            x0, y0, x1, y1 = frame(child)
            assert inside((x0 + slack, y0 + slack, x1 - slack, y1 - slack), frame(box))
        for one, other in itertools.combinations(box.children, 2):
            x0, y0, x1, y1 = frame(one)
            assert not overlap((x0 + slack, y0 + slack, x1 - slack, y1 - slack), frame(other))
    lines = [line for box in boxes for line in box.lines]
    for line in lines:  # straight down through the rows, where no node is in the way, and bent between them
        first, second, third, fourth = line.points
        assert first.x == second.x and third.x == fourth.x
        assert first.y <= second.y + slack and second.y <= third.y + slack and third.y <= fourth.y + slack
        down = [
            (first.x, first.y, second.x, second.y),
            (third.x, third.y, fourth.x, fourth.y),
            (min(second.x, third.x), second.y, max(second.x, third.x), third.y),
        ]
        for x0, y0, x1, y1 in down:
            piece = (x0 - slack, y0 + slack, x1 + slack, y1 - slack)
            assert not any(overlap(piece, frame(leaf)) for leaf in leaves.values())
    for producer, consumer in edges:  # from one to the other by joined lines
        reached = {
            (round(line.points[3].x, 3), round(line.points[3].y, 3))
            for line in lines
            if line.producer == producer and line.arrives
        }
        target = frame(leaves[consumer])
        corner = 0.09 * (target[2] - target[0])
        assert any(target[0] + corner <= x <= target[2] - corner and abs(y - target[1]) < 0.01 for x, y in reached)
        assert frame(leaves[producer])[3] <= target[1] + slack
