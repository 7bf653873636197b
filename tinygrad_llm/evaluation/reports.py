"""Metrics with their standard errors, and the report of a task."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike


class Metric(NamedTuple):
    """A value and its standard error, None for fewer than two samples; `share`: it is shown in percent."""

    value: float
    standard_error: float | None
    share: bool = True


@dataclass(frozen=True)
class TaskReport:
    """The metrics of a task over `count` samples, and further figures by name, such as how many were skipped."""

    kind: str
    count: int
    metrics: dict[str, Metric]
    notes: dict[str, float] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """The report as JSON can hold it; the standard error of a metric is `NAME_stderr`."""
        figures: dict[str, Any] = {"kind": self.kind, "count": self.count, **self.notes}
        for name, metric in self.metrics.items():
            figures |= {name: metric.value, f"{name}_stderr": metric.standard_error}
        return figures


def mean_metric(scores: Sequence[float]) -> Metric:
    """The mean over samples, and the standard error of the mean: √(Σ (x - mean)² / (n - 1) / n)."""
    values = np.asarray(scores, np.float64)
    error = None if len(values) < 2 else float(values.std(ddof=1) / math.sqrt(len(values)))
    return Metric(float(values.mean()), error)


def ratio_error(amounts: ArrayLike, sizes: ArrayLike) -> float | None:
    """The standard error of Σ amounts / Σ sizes over samples, by linearisation (the ratio estimator).

        r = Σ a / Σ b,    √(n / (n - 1) · Σ (a - r b)²) / Σ b

    Shapes: each (n,); None for fewer than two samples
    """
    a, b = np.asarray(amounts, np.float64), np.asarray(sizes, np.float64)
    if len(a) < 2:
        return None
    residuals = a - a.sum() / b.sum() * b
    return float(math.sqrt(len(a) / (len(a) - 1) * (residuals**2).sum()) / b.sum())
