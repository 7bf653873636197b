"""Loss curves of several runs in one chart: as characters for a terminal, or as an SVG file, without matplotlib."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from html import escape

from tinygrad_llm.runs.summary import RunSummary
from tinygrad_llm.terminal import coloured, escape_controls

SYMBOLS = "ox+*#%@&"  # one for each run; then again from the first
COLOURS = ("cyan", "yellow", "green", "red")
# The colours of Okabe and Ito (2008), which the colour-blind tell apart.
STROKES = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#7a7a7a", "#b8860b")
WIDTH, HEIGHT, LEFT, BOTTOM, TOP, RIGHT = 860, 480, 64, 52, 24, 16  # of the picture and its margins, in pixels


@dataclass(frozen=True)
class Curve:
    """The losses of a run: steps (N,) in increasing order and values (N,), all finite. Units: nats per target"""

    name: str
    steps: Sequence[float]
    values: Sequence[float]


@dataclass(frozen=True)
class Scale:
    """The range of an axis, and round numbers in it for its labels."""

    low: float
    high: float

    def share(self, value: float) -> float:
        """Where `value` lies between low (0) and high (1)."""
        return (value - self.low) / (self.high - self.low)

    def ticks(self, count: int) -> list[float]:
        """At most `count` + 1 round numbers in the range: multiples of 1, 2 or 5 times a power of ten."""
        rough = (self.high - self.low) / max(count, 1)
        power = 10.0 ** math.floor(math.log10(rough))
        step = next(factor * power for factor in (1, 2, 5, 10) if factor * power >= rough * (1 - 1e-9))
        first = math.ceil(self.low / step - 1e-9)
        return [multiple * step for multiple in range(first, math.floor(self.high / step + 1e-9) + 1)]


def curve_of(run: RunSummary, name: str) -> Curve:
    """A column of a run's log, `train_loss` or `val_loss`, without the steps where it is not a finite number."""
    found = [
        (float(record["step"]), float(record[name]))
        for record in run.records
        if isinstance(record.get(name), int | float) and math.isfinite(record[name])
    ]
    return Curve(escape_controls(str(run.path)), [step for step, _ in found], [value for _, value in found])


def smoothed(curve: Curve, points: int) -> Curve:
    """At most `points` points: the means of stretches of equal length."""
    count = len(curve.steps)
    size = -(-count // max(points, 1)) or 1
    stretches = [slice(start, start + size) for start in range(0, count, size)]
    return Curve(
        curve.name,
        [curve.steps[min(part.stop, count) - 1] for part in stretches],
        [sum(curve.values[part]) / len(curve.values[part]) for part in stretches],
    )


def scales_of(curves: Sequence[Curve]) -> tuple[Scale, Scale]:
    """The range of the steps and of the losses of all curves, at least one of which has a point."""
    steps = [step for curve in curves for step in curve.steps]
    values = [value for curve in curves for value in curve.values]
    low, high = min(values), max(values)
    margin = (high - low) * 0.03 or max(abs(high), 1.0) * 0.05
    return Scale(0.0, max(max(steps), 1.0)), Scale(low - margin, high + margin)


# -- characters


def as_text(curves: Sequence[Curve], width: int, height: int) -> Iterator[str]:
    """The lines of a chart of at most `width` x `height` characters: a symbol for each run, then the names."""
    across, up = scales_of(curves)
    labels = {round((1 - up.share(tick)) * (height - 1)): f"{tick:.4g}" for tick in up.ticks(max(2, height // 4))}
    margin = max(map(len, labels.values())) + 2
    room = max(width - margin - 1, 10)
    grid = [[" "] * room for _ in range(height)]
    for number, curve in enumerate(curves):
        symbol, colour = SYMBOLS[number % len(SYMBOLS)], COLOURS[number % len(COLOURS)]
        short = smoothed(curve, room)
        for step, value in zip(short.steps, short.values, strict=True):
            column, row = round(across.share(step) * (room - 1)), round((1 - up.share(value)) * (height - 1))
            grid[row][column] = coloured(symbol, colour)
    for row, line in enumerate(grid):
        yield f"{labels.get(row, ''):>{margin - 2}} │{''.join(line).rstrip()}"
    yield " " * (margin - 1) + "└" + "─" * room
    yield _step_labels(across, margin, room)
    for number, curve in enumerate(curves):
        symbol = coloured(SYMBOLS[number % len(SYMBOLS)], COLOURS[number % len(COLOURS)])
        yield f"  {symbol} {curve.name}: {_ends(curve)}"


def _step_labels(across: Scale, margin: int, room: int) -> str:
    line = [" "] * (margin + room)
    for tick in across.ticks(max(2, room // 16)):
        text = f"{tick:,.0f}"
        place = min(margin + round(across.share(tick) * (room - 1)), len(line) - len(text))
        line[place : place + len(text)] = text
    return "".join(line).rstrip() + " steps"


def _ends(curve: Curve) -> str:
    if not curve.steps:
        return "no such loss in its log"
    lowest = min(range(len(curve.values)), key=curve.values.__getitem__)
    return (
        f"{curve.values[0]:.3f} to {curve.values[-1]:.3f} at step {curve.steps[-1]:,.0f}; "
        f"lowest {curve.values[lowest]:.3f} at {curve.steps[lowest]:,.0f}"
    )


# -- SVG


def as_svg(curves: Sequence[Curve], title: str) -> str:
    """The chart as one SVG document, with light and dark colours, a title, axes, grid and legend."""
    across, up = scales_of(curves)
    inner_width, inner_height = WIDTH - LEFT - RIGHT, HEIGHT - TOP - BOTTOM

    def x(step: float) -> float:
        return LEFT + across.share(step) * inner_width

    def y(value: float) -> float:
        return TOP + (1 - up.share(value)) * inner_height

    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" '
        f'aria-label="{escape(title)}">',
        f"<title>{escape(title)}</title>",
        "<style>svg{font:13px system-ui,sans-serif;background:#fff}text{fill:#222}.grid{stroke:#ddd}"
        "path{fill:none;stroke-width:1.8}@media(prefers-color-scheme:dark){svg{background:#16181d}text{fill:#ddd}"
        ".grid{stroke:#3a3f4a}}</style>",
    ]
    for tick in up.ticks(6):
        parts.append(f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y(tick):.1f}" y2="{y(tick):.1f}"/>')
        parts.append(f'<text x="{LEFT - 8}" y="{y(tick) + 4:.1f}" text-anchor="end">{tick:.4g}</text>')
    for tick in across.ticks(8):
        parts.append(f'<text x="{x(tick):.1f}" y="{HEIGHT - BOTTOM + 20}" text-anchor="middle">{tick:,.0f}</text>')
    middle = LEFT + inner_width / 2
    parts.append(f'<text x="{middle:.0f}" y="{HEIGHT - 10}" text-anchor="middle">optimizer step</text>')
    parts.append(
        f'<text transform="translate(16 {HEIGHT / 2:.0f}) rotate(-90)" text-anchor="middle">{escape(title)}</text>'
    )
    for number, curve in enumerate(curves):
        stroke, name = STROKES[number % len(STROKES)], escape(curve.name)
        short = smoothed(curve, 800)
        points = [f"{x(step):.1f},{y(value):.1f}" for step, value in zip(short.steps, short.values, strict=True)]
        if points:
            parts.append(f'<path d="M{" L".join(points)}" stroke="{stroke}"><title>{name}</title></path>')
        height = TOP + 16 + 18 * number
        parts.append(f'<path d="M{WIDTH - 300},{height - 4} h20" stroke="{stroke}"/>')
        parts.append(f'<text x="{WIDTH - 274}" y="{height}">{name}: {escape(_ends(curve).partition(" at ")[0])}</text>')
    return "\n".join([*parts, "</svg>", ""])
