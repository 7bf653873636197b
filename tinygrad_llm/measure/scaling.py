"""How the cost of a training step grows with the sizes of the model and the batch.

    for growth in measure_growth():
        print(growth.axis, growth.exponent)

One size grows at a time, the others are fixed. If a cost is c · sizeⁿ, its logarithm is a straight line of slope n over
the logarithm of the size; `exponent` is the slope of the least-squares line. The counted operations are the model's;
time grows like them if matrix products are large enough to dominate.
"""

from __future__ import annotations

import dataclasses
import statistics
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tinygrad_llm.errors import ConfigError
from tinygrad_llm.measure.products_alone import seconds_of
from tinygrad_llm.measure.training_step import TrainingStep, Workload, gpt_like_nanogpt
from tinygrad_llm.study.counting import flops

BASE = Workload(gpt_like_nanogpt(256, 128, 128, 4, 2), batch_size=2, steps=3)
AXES: dict[str, tuple[int, ...]] = {
    "context": (64, 128, 256, 512, 1024, 2048),
    "batch": (1, 2, 4, 8, 16, 32),
    "width": (64, 128, 256, 512, 1024),
    "vocabulary": (256, 1024, 4096, 16384, 65536),
}


@dataclass
class ScalingPoint:
    """One size: median seconds of a step, tokens per second, operations of its products forward and backward."""

    size: int
    seconds: float
    tokens_per_second: float
    operations: int


@dataclass
class Growth:
    """The points along one axis, and the exponents of the power laws fitted to seconds and operations."""

    axis: str
    points: list[ScalingPoint]

    @property
    def exponent(self) -> float:
        return fitted_exponent([p.size for p in self.points], [p.seconds for p in self.points])

    @property
    def exponent_of_operations(self) -> float:
        return fitted_exponent([p.size for p in self.points], [p.operations for p in self.points])

    def to_dict(self) -> dict[str, Any]:
        return {
            "points": [dataclasses.asdict(point) for point in self.points],
            "exponent": self.exponent,
            "exponent_of_operations": self.exponent_of_operations,
        }


def measure_growth(
    base: Workload = BASE,
    axes: Mapping[str, Sequence[int]] = AXES,
    seed: int = 0,
    progress: Callable[[str], None] = lambda _: None,
) -> Iterator[Growth]:
    """Yields each axis once all of its sizes are measured; `progress` is called with the size that is measured next.

    Raises: ConfigError for an unknown axis
    """
    for axis, sizes in axes.items():
        points = []
        for size in sizes:
            progress(f"{axis} {size:,}")
            points.append(_measured(size, grown(base, axis, size), seed))
        yield Growth(axis, points)


def grown(base: Workload, axis: str, size: int) -> Workload:
    """`base` with one of its sizes changed."""
    if axis == "batch":
        return dataclasses.replace(base, batch_size=size)
    names = {"context": "context_length", "width": "embedding_dim", "vocabulary": "vocab_size"}
    if axis not in names:
        raise ConfigError(f"scaling: axes are batch, {', '.join(names)}; got {axis!r}")
    change: dict[str, Any] = {names[axis]: size}
    return dataclasses.replace(base, config=dataclasses.replace(base.config, **change))


def _measured(size: int, workload: Workload, seed: int) -> ScalingPoint:
    step = TrainingStep(workload, seed)
    step()  # fills the buffers that later steps reuse
    seconds = statistics.median(seconds_of(step) for _ in range(workload.steps))
    counted = flops(step.model, workload.batch_size, workload.config.context_length)
    return ScalingPoint(size, seconds, workload.tokens / seconds, counted.forward + counted.backward)


def fitted_exponent(sizes: Sequence[float], costs: Sequence[float]) -> float:
    """The exponent n of the least-squares fit of c · sizeⁿ: the slope of ln(cost) over ln(size).

    >>> round(fitted_exponent([1, 2, 4], [3, 12, 48]), 6)
    2.0
    """
    slope, _ = np.polyfit(np.log(sizes), np.log(costs), 1)
    return float(slope)
