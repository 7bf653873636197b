"""The picture of the tape is valid and complete; boxes are nested, and nothing overlaps."""

import itertools
import re
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from browser import CHROMIUM, browser
from tiny_gpt import some_ids, tiny

from tinygrad_llm import Tensor, composed_ops, nn, study
from tinygrad_llm.errors import CheckpointError
from tinygrad_llm.study.formatting import format_bytes, format_time
from tinygrad_llm.study.tape import Tape
from tinygrad_llm.verify.model_cases import made, model_cases

SVG = "{http://www.w3.org/2000/svg}"


def tape_of(name: str) -> study.Tape:
    case = model_cases()[name]
    model = made(case)
    with study.record() as tape:
        case.call(model, *case.inputs).backward()
    return tape


@pytest.fixture(scope="module")
def tape() -> Tape:
    ids = some_ids(18).reshape(2, 9)
    with study.record() as tape:
        tiny().loss(ids, ids).backward()
    return tape


def rectangle(element: Any) -> tuple[float, ...]:
    rect = element.find(f"{SVG}rect")
    x, y, width, height = (float(rect.get(name)) for name in ("x", "y", "width", "height"))
    return x, y, x + width, y + height


def overlap(one: tuple[Any, ...], other: tuple[Any, ...]) -> bool:
    return one[0] < other[2] and other[0] < one[2] and one[1] < other[3] and other[1] < one[3]


def inside(inner: tuple[Any, ...], outer: tuple[Any, ...]) -> bool:
    return outer[0] <= inner[0] and outer[1] <= inner[1] and inner[2] <= outer[2] and inner[3] <= outer[3]


def groups(element: Any, kind: str) -> list:
    return [child for child in element if (child.get("class") or "").split(" ")[0] == kind]


def check_boxes(element: Any, around: tuple[Any, ...] | None) -> None:
    """Nodes and boxes lie in their surrounding box, do not overlap, and have room for their text."""
    parts = [*groups(element, "module"), *groups(element, "node")]
    for part in parts:
        assert around is None or inside(rectangle(part), around)
        left, _, right, _ = rectangle(part)
        for text in part.findall(f"{SVG}text"):
            size = 12 if text.get("class") == "name" else 10.5
            assert len(text.text) * size * 0.602 < right - left  # the width of a letter in the widest of the fonts
    for one, other in itertools.combinations(parts, 2):
        assert not overlap(rectangle(one), rectangle(other))
    for module in groups(element, "module"):
        check_boxes(module, rectangle(module))


def check_lines(drawing: Any) -> int:
    """No line crosses a node, and each arrow ends at the upper edge of one; returns the number of arrows."""
    nodes = [rectangle(node) for node in drawing.iter(f"{SVG}g") if (node.get("class") or "").startswith("node")]
    arrows = 0
    for path in drawing.iter(f"{SVG}path"):
        points = [float(number) for number in re.findall(r"-?[\d.]+", path.get("d"))]
        if path.get("marker-end") is None and "M0 0.5" in path.get("d"):
            continue  # the arrow's head itself
        x, y = points[0], points[1]
        for command, numbers in re.findall(r"([VC])([-\d. ]+)", path.get("d")):
            ends = [float(number) for number in numbers.split()]
            to_x, to_y = (x, ends[0]) if command == "V" else (ends[4], ends[5])
            piece = (min(x, to_x) - 0.1, min(y, to_y) + 0.2, max(x, to_x) + 0.1, max(y, to_y) - 0.2)
            assert not any(overlap(piece, node) for node in nodes)
            x, y = to_x, to_y
        if path.get("marker-end"):
            arrows += 1
            assert any(node[0] < x < node[2] and abs(node[1] - y) < 0.2 for node in nodes)
    return arrows


def check(tape: study.Tape) -> None:
    drawing = ET.fromstring(tape.to_svg())
    (canvas,) = drawing.findall(f"{SVG}g[@transform]")
    check_boxes(canvas, None)
    edges = {(x.made_by, entry.index) for entry in tape for x in entry.operands if x.made_by is not None}
    assert check_lines(canvas) == len(edges)
    nodes = [node for node in canvas.iter(f"{SVG}g") if (node.get("class") or "").startswith("node")]
    assert sorted(int(node.get("id")[2:]) for node in nodes) == list(range(len(tape)))
    for node in nodes:
        assert node.find(f"{SVG}title").text == tape[int(node.get("id")[2:])].describe(120)
    width, height = (float(drawing.get(name)) for name in ("width", "height"))
    right, down = map(float, re.findall(r"[\d.]+", canvas.get("transform")))
    assert all(inside(rectangle(part), (-right, -down, width - right, height - down)) for part in nodes)


@pytest.mark.parametrize("name", model_cases())
def test_the_picture_of_every_model(name: str) -> None:
    check(tape_of(name))


def test_the_picture_of_composed_definitions() -> None:
    ids = some_ids(10).reshape(2, 5)
    with composed_ops(), study.record() as tape:
        tiny().loss(ids, ids).backward()
    assert len(tape) > 100
    check(tape)


def test_operations_without_module_and_edges_are_drawn() -> None:
    with study.record() as tape:
        x = Tensor([1.0, 2.0], requires_grad=True)
        (x * x).sum().backward()
        x.exp()
    check(tape)
    assert "GPT" not in tape.to_svg()


def test_boxes_are_nested_as_modules_called_each_other(tape: Tape) -> None:
    def titles(element: Any) -> list:
        return [(module.find(f"{SVG}text").text, titles(module)) for module in groups(element, "module")]

    (canvas,) = ET.fromstring(tape.to_svg()).findall(f"{SVG}g[@transform]")
    block = [("attention", []), ("feed_forward", [])]
    assert titles(canvas) == [("GPT", [("blocks.0", block), ("blocks.1", block)])]
    words = [text.text for text in canvas.iter(f"{SVG}text")]
    assert {"query: linear", "dropout", "token_embedding: embedding", "norm1: layer_norm"} <= set(words)


def test_the_picture_is_self_contained_in_light_and_dark(tape: Tape) -> None:
    picture = tape.to_svg()
    assert "prefers-color-scheme: dark" in picture
    assert re.findall(r"(?:https?:)?//[^\"]+", picture) == ["http://www.w3.org/2000/svg"]
    light, dark = (set(re.findall(r"--([\w-]+):", part)) for part in picture.split("@media"))
    assert light == dark == set(re.findall(r"var\(--([\w-]+)\)", picture))


def test_the_picture_is_written_to_a_file(tape: Tape, tmp_path: Path) -> None:
    assert tape.to_svg(tmp_path / "tape.svg") == (tmp_path / "tape.svg").read_text(encoding="utf-8")
    with pytest.raises(CheckpointError, match="cannot be written: its folder does not exist"):
        tape.to_svg(tmp_path / "none" / "tape.svg")


# -- Graphviz

TOKEN = re.compile(r'\s*("(?:[^"\\]|\\.)*"|[\w.]+|->|[{}\[\];=,])')


def tokens(text: str) -> list[str]:
    found, at = [], 0
    while text[at:].strip():
        match = TOKEN.match(text, at)
        assert match, text[at : at + 40]
        found.append(match[1])
        at = match.end()
    return found


def check_dot(tape: study.Tape) -> list[str]:
    """Braces balance, and every edge joins two nodes that were declared; returns the clusters' labels."""
    words, depth, nodes, edges = tokens(tape.to_dot()), 0, set(), []
    for i, word in enumerate(words):
        depth += (word == "{") - (word == "}")
        assert depth > 0 or i in (0, 1, len(words) - 1)
        if word == "->":
            edges.append((words[i - 1], words[i + 1]))
        if word == "[" and re.fullmatch(r'"\d+"', words[i - 1]) and words[i - 2] != "->":
            nodes.add(words[i - 1])
    assert depth == 0 and nodes == {f'"{i}"' for i in range(len(tape))}
    assert {node for edge in edges for node in edge} <= nodes
    assert {(int(a[1:-1]), int(b[1:-1])) for a, b in edges} == {
        (x.made_by, entry.index) for entry in tape for x in entry.operands if x.made_by is not None
    }
    clusters = [word for i, word in enumerate(words) if words[i - 1] == "subgraph"]
    assert len(clusters) == len(set(clusters)) and all(word.startswith('"cluster_') for word in clusters)
    return [words[i + 3] for i, word in enumerate(words) if word == "{" and words[i - 2] == "subgraph"]


def test_dot_is_valid_and_nested(tape: Tape) -> None:
    block = ["attention", "feed_forward"]
    assert check_dot(tape) == [f'"{label}"' for label in ["GPT", "blocks.0", *block, "blocks.1", *block]]


def test_special_characters_in_names_are_escaped() -> None:
    hostile = 'A"<&]]>\\\n{x}'

    class Model(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return (x * 2).exp()

    Model.__name__ = hostile
    outer = nn.Sequential(Model())
    setattr(outer, hostile, Model())
    with study.record() as tape:
        outer(Tensor(np.ones(3), requires_grad=True)).sum().backward()
    with study.record() as root:
        Model()(Tensor(np.ones(3), requires_grad=True)).sum().backward()
    for one in (tape, root):
        check(one)
        check_dot(one)
    assert root.root() == hostile


# -- folding and zooming, in a browser


def test_nodes_carry_the_numbers_of_the_table(tape: Tape) -> None:
    (canvas,) = ET.fromstring(tape.to_svg()).findall(f"{SVG}g[@id='canvas']")
    for entry in tape:
        (node,) = [one for one in canvas.iter(f"{SVG}g") if one.get("id") == f"op{entry.index}"]
        said = " ".join(text.text for text in node.findall(f"{SVG}text"))
        assert format_time(entry.seconds) in said
        if entry.backward is not None:
            assert f"|d| {entry.backward.dy.norm:.2g}" in said and format_time(entry.backward.seconds) in said
        assert (f"{format_bytes(entry.bytes_kept)} kept" in said) == (entry.bytes_kept > 0)


@pytest.mark.slow
@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium")
def test_modules_fold_and_the_drawing_zooms(tape: Tape, tmp_path: Path) -> None:
    tape.to_svg(tmp_path / "tape.svg")
    height = "Number(document.documentElement.getAttribute('height'))"
    shown = "[...document.querySelectorAll('.node:not(.legend), .folded')].map((one) => one.querySelector('rect'))"
    boxes = f"{shown}.map((one) => one.getBoundingClientRect()).filter((box) => box.height > 0)"
    overlap = "a.left < b.right && b.left < a.right && a.top < b.bottom - 1 && b.top < a.bottom - 1"
    click = "document.querySelector('{}').dispatchEvent(new MouseEvent('click', {{bubbles: true}}))".format
    with browser(tmp_path) as page:
        page.command("Page.navigate", url=(tmp_path / "tape.svg").as_uri())
        page.wait_for("document.querySelector('#tools')?.checkVisibility({visibilityProperty: true})")
        whole, nodes = page.evaluate(height), page.evaluate(f"{boxes}.length")
        assert nodes == len(tape)
        page.evaluate(click('[data-act="fold"]'))
        folded = page.evaluate(height)
        assert folded < whole / 2 and 0 < page.evaluate(f"{boxes}.length") < nodes / 2
        assert not page.evaluate(f"(all => all.some((a, i) => all.some((b, j) => i < j && {overlap})))({boxes})")
        page.evaluate("document.querySelector('.folded .title').focus()")
        page.press("Enter")
        assert folded < page.evaluate(height) < whole
        page.press("+")
        assert page.evaluate(height) > folded
        page.press("0")
        page.evaluate(click('[data-act="unfold"]'))
        assert page.evaluate(height) == whole and page.evaluate(f"{boxes}.length") == nodes and page.errors == []
