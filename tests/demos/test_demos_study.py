"""The demos that look inside: from single numbers to a GPT, the tape, and induction heads."""

import re
import xml.etree.ElementTree as ET

import pytest
from demo_figures import run


def test_every_rung_has_the_same_gradient(printed) -> None:
    output = printed("scalar_to_gpt")
    rungs = re.findall(r"^\d (?:numbers|arrays|package) +loss ([\d.]+) .*= \[(.*)\]$", output, re.MULTILINE)
    assert len(rungs) == 3 and len(set(rungs)) == 1
    assert any(float(number) for number in rungs[0][1].split())
    assert float(re.search(r"20 gradients: (\S+)", output)[1]) < 1e-14


def test_the_gpt_s_gradient_is_what_moving_the_number_shows(printed) -> None:
    backward, moved = re.search(r"backward (\S+) +by moving it (\S+)", printed("scalar_to_gpt")).groups()
    assert float(backward) and float(backward) == pytest.approx(float(moved), rel=1e-4, abs=2e-9)


def test_the_tape_is_a_table_steps_and_a_picture(tmp_path) -> None:
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


@pytest.mark.slow
def test_an_induction_head_forms_and_is_needed(printed) -> None:
    output = printed("induction_heads")
    shares = {head: float(x) for head, x in re.findall(r"^   (\d\.\d) +\S+ +\S+ +(\S+)$", output, re.MULTILINE)}
    losses = {head: float(x) for head, x in re.findall(r"^   (\d\.\d|none) +(\S+)$", output, re.MULTILINE)}
    patched = [float(x) for x in re.findall(r"(\S+)$", output.split("4. ")[1], re.MULTILINE)[1:]]
    found = re.search(r"the pattern of (\S+),", output)[1]
    assert len(shares) == 4 and shares[found] == max(shares.values()) > 0.5
    assert losses["none"] < 0.2 < losses[found] and max(losses["0.0"], losses["0.1"]) > 1
    assert patched[0] > patched[2] + 1 and patched[1] > patched[2]
