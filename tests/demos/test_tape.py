"""The demo of the tape prints a table and steps of backward, and draws the graph."""

import re
import xml.etree.ElementTree as ET
from pathlib import Path

from demo_figures import run


def test_prints_a_table_and_steps_and_draws_the_graph(tmp_path: Path) -> None:
    output = run("tape", str(tmp_path / "tape.svg"))
    first, second, third, fourth = re.split(r"^\d\. ", output, flags=re.MULTILINE)[1:]
    operations = int(re.search(r"^(\d+) operations, \1 backward calls", first, re.MULTILINE)[1])
    assert len(re.findall(r"^ *\d+  \w+", first, re.MULTILINE)) == operations > 40
    assert re.findall(r"^backward, step \d: #(\d+) (\w+),", second, re.MULTILINE) == [
        (str(operations - i), name) for i, name in enumerate(["linear_cross_entropy", "layer_norm", "add"], 1)
    ]
    assert "dx = rstd · (g - mean(g) - x̂ · mean(g ⊙ x̂))" in second
    same, parameters = re.search(r"(\d+) of (\d+) parameters have the same gradient", third).groups()
    assert same == parameters != "0"
    assert ET.parse(tmp_path / "tape.svg").getroot().tag.endswith("svg") and "Graphviz" in fourth
