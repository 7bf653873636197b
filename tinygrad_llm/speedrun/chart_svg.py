"""A chart as inline SVG, whose colours are those of the page."""

from __future__ import annotations

import math
from html import escape

from tinygrad_llm.runs.loss_chart import Scale, scales_of
from tinygrad_llm.speedrun.document import Chart

WIDTH, HEIGHT, LEFT, BOTTOM, TOP, RIGHT = 560, 260, 48, 40, 10, 14  # of the picture and its margins, in pixels
COLOURS = 3


def chart_svg(chart: Chart) -> str:
    """Curves as lines, points as circles, with axes, grid and labels."""
    drawn = [*chart.curves, *chart.points]
    across, up = scales_of(drawn)
    if chart.log_x:
        steps = [step for curve in drawn for step in curve.steps]
        across = Scale(min(steps), max(steps))

    def x(step: float) -> float:
        return LEFT + across.share(step) * (WIDTH - LEFT - RIGHT)

    def y(value: float) -> float:
        return TOP + (1 - up.share(value)) * (HEIGHT - TOP - BOTTOM)

    parts = [f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escape(chart.title)}">']
    for tick in up.ticks(5):
        parts.append(f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y(tick):.1f}" y2="{y(tick):.1f}"/>')
        parts.append(f'<text x="{LEFT - 7}" y="{y(tick) + 4:.1f}" text-anchor="end">{tick:.4g}</text>')
    for tick in _log_ticks(across) if chart.log_x else across.ticks(5):
        label = f"{10**tick:,.0f}" if chart.log_x else f"{tick:,.0f}"
        parts.append(f'<text x="{x(tick):.1f}" y="{HEIGHT - BOTTOM + 17}" text-anchor="middle">{label}</text>')
    middle = LEFT + (WIDTH - LEFT - RIGHT) / 2
    parts.append(f'<text x="{middle:.0f}" y="{HEIGHT - 5}" text-anchor="middle">{escape(chart.x_label)}</text>')
    for number, curve in enumerate(drawn):
        colour, places = number % COLOURS, list(zip(map(x, curve.steps), map(y, curve.values), strict=True))
        if number >= len(chart.curves) or len(places) == 1:
            parts += [f'<circle class="point c{colour}" cx="{a:.1f}" cy="{b:.1f}" r="5"/>' for a, b in places]
        elif places:
            line = " L".join(f"{a:.1f},{b:.1f}" for a, b in places)
            parts.append(f'<path class="curve c{colour}" d="M{line}"/>')
    return "".join([*parts, "</svg>"])


def _log_ticks(scale: Scale) -> list[float]:
    """log10 of 1, 2 and 5 times the powers of ten in the range."""
    powers = range(math.floor(scale.low), math.ceil(scale.high) + 1)
    ticks = [power + math.log10(factor) for power in powers for factor in (1, 2, 5)]
    return [tick for tick in ticks if scale.low <= tick <= scale.high]
