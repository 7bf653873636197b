"""Charts of losses as characters and as SVG: places, labels, names that are not markup, and round numbers."""

import math
import xml.etree.ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinygrad_llm.runs.loss_chart import Curve, Scale, as_svg, as_text, scales_of, smoothed

FALLING = Curve("runs/a", [0, 50, 100], [4.0, 3.0, 2.0])
FLAT = Curve("runs/b <&>", [0, 50], [3.0, 3.0])
NUMBERS = st.floats(-1e6, 1e6)


def test_characters_stand_where_the_losses_are() -> None:
    lines = list(as_text([FALLING, FLAT], 60, 11))
    rows = [line.partition("│")[2] for line in lines[:11]]
    assert rows[0].startswith("o") and rows[10].endswith("o") and rows[5].startswith("x")
    assert rows[5].count("x") == 2 and sum("o" in row for row in rows) == 2  # both have 3.0 at step 50
    assert lines[-2] == "  o runs/a: 4.000 to 2.000 at step 100; lowest 2.000 at 100"
    assert max(map(len, lines[:13])) <= 66 and "steps" in lines[12]


def test_an_svg_is_a_document_with_a_path_for_each_run() -> None:
    root = ET.fromstring(as_svg([FALLING, FLAT], "validation loss"))
    space = "{http://www.w3.org/2000/svg}"
    paths = [path for path in root.iter(f"{space}path") if path.find(f"{space}title") is not None]
    assert [path.find(f"{space}title").text for path in paths] == ["runs/a", "runs/b <&>"]
    points = [tuple(map(float, word.split(","))) for word in paths[0].get("d", "").strip("M").split(" L")]
    assert [x for x, _ in points] == sorted(x for x, _ in points)
    assert [y for _, y in points] == sorted(y for _, y in points)  # a falling loss goes down the page


@given(NUMBERS, st.floats(1e-6, 1e6), st.integers(1, 20))
def test_ticks_are_round_and_inside(low: float, span: float, count: int) -> None:
    scale = Scale(low, low + span)
    if scale.high - scale.low < 1e-9 * max(abs(low), 1):
        return
    ticks = scale.ticks(count)
    slack = 1e-6 * span
    assert len(ticks) <= count + 1 and all(low - slack <= tick <= low + span + slack for tick in ticks)
    if len(ticks) > 1:
        step = ticks[1] - ticks[0]
        digits = step / 10 ** math.floor(math.log10(step) + 1e-9)
        assert any(abs(digits - one) < 1e-3 for one in (1, 2, 5, 10))


@given(st.lists(st.floats(0, 10), min_size=1, max_size=60), st.integers(1, 20))
def test_smoothing_keeps_the_mean_and_the_last_step(values: list[float], points: int) -> None:
    curve = smoothed(Curve("", list(range(len(values))), values), points)
    assert len(curve.values) <= points and curve.steps[-1] == len(values) - 1
    assert min(values) - 1e-9 <= min(curve.values) and max(curve.values) <= max(values) + 1e-9


def test_a_single_value_has_a_range_too() -> None:
    across, up = scales_of([Curve("", [0], [2.0])])
    assert across.high == 1 and up.low < 2 < up.high


@pytest.mark.parametrize("curve", [Curve("empty", [], [])])
def test_a_curve_without_points_is_named(curve: Curve) -> None:
    assert list(as_text([FALLING, curve], 60, 8))[-1] == "  x empty: no such loss in its log"
    assert "empty" in as_svg([FALLING, curve], "loss")
