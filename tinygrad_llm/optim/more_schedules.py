"""Schedules beyond the cosine: constant, by the root of time, straight lines, a plateau, one cycle. See `schedules`."""

from __future__ import annotations

import math

from tinygrad_llm.checks import expect_choice, expect_number
from tinygrad_llm.errors import ConfigError
from tinygrad_llm.optim.schedules import Schedule, expect_step


def constant(learning_rate: float) -> Schedule:
    """The same learning rate at every step. Raises ConfigError if it is negative or not finite."""
    expect_number("constant", "learning_rate", learning_rate)

    def rate(step: int) -> float:
        expect_step("constant", step)
        return learning_rate

    return rate


def inverse_square_root(peak: float, warmup_steps: int) -> Schedule:
    """Rise linearly to `peak`, then fall with the root of time (Vaswani et al. 2017, arXiv:1706.03762, section 5.3).

        n = step + 1, the paper's count from 1
        peak · min(n / warmup_steps, √(warmup_steps / n))

    The paper's rate, d_model^-½ · min(n^-½, n · warmup_steps^-1½), is this with peak = (d_model · warmup_steps)^-½.
    Unlike a cosine it needs no end. `rate(warmup_steps - 1)` is `peak`.

    >>> rate = inverse_square_root(peak=(512 * 4000) ** -0.5, warmup_steps=4000)
    >>> [round(rate(step), 7) for step in (0, 3999, 15999)]
    [2e-07, 0.0006988, 0.0003494]

    Units: steps count updates. Raises: ConfigError for warmup_steps below 1 or a rate that is negative or not finite.
    """
    expect_number("inverse_square_root", "peak", peak)
    expect_number("inverse_square_root", "warmup_steps", warmup_steps, low=1)

    def rate(step: int) -> float:
        expect_step("inverse_square_root", step)
        return peak * min((step + 1) / warmup_steps, math.sqrt(warmup_steps / (step + 1)))

    return rate


def linear(peak: float, warmup_steps: int, total_steps: int, minimum: float = 0.0) -> Schedule:
    """Rise linearly to `peak`, then fall linearly to `minimum`.

        step < warmup_steps:   peak · (step + 1) / (warmup_steps + 1)
        step < total_steps:    peak - (peak - minimum) · (step - warmup_steps) / (total_steps - warmup_steps)
        afterwards:            minimum

    >>> rate = linear(peak=1.0, warmup_steps=3, total_steps=7)
    >>> [rate(step) for step in range(8)]
    [0.25, 0.5, 0.75, 1.0, 0.75, 0.5, 0.25, 0.0]

    Units: steps count updates. Raises: ConfigError unless 0 <= warmup_steps <= total_steps, 0 <= minimum <= peak
    """
    return warmup_stable_decay(peak, warmup_steps, total_steps, total_steps - warmup_steps, minimum, owner="linear")


def warmup_stable_decay(
    peak: float,
    warmup_steps: int,
    total_steps: int,
    decay_steps: int,
    minimum: float = 0.0,
    shape: str = "linear",
    *,
    owner: str = "warmup_stable_decay",
) -> Schedule:
    """Rise linearly to `peak`, stay there, and fall over the last `decay_steps` (Hu et al. 2024, arXiv:2404.06395).

        peak - (peak - minimum) · f(progress),  f(x) = x  or, with shape "sqrt",  √x

    A run can be continued from the end of the plateau: only the fall depends on the total. "sqrt" falls faster at first
    (Hägele et al. 2024, arXiv:2405.18392).

    >>> rate = warmup_stable_decay(peak=1.0, warmup_steps=1, total_steps=6, decay_steps=2)
    >>> [rate(step) for step in range(7)]
    [0.5, 1.0, 1.0, 1.0, 1.0, 0.5, 0.0]

    Units: steps count updates. Raises: ConfigError unless the warm-up and the decay fit into the total, for a rate
    that is negative or not finite, and for a `minimum` above `peak`
    """
    for name, value in (("warmup_steps", warmup_steps), ("total_steps", total_steps), ("decay_steps", decay_steps)):
        expect_number(owner, name, value)
    expect_number(owner, "peak", peak)
    expect_number(owner, "minimum", minimum)
    expect_choice(owner, "shape", shape, ("linear", "sqrt"))
    if warmup_steps + decay_steps > total_steps:
        raise ConfigError(
            f"{owner}: warmup_steps and decay_steps must fit into total_steps, {total_steps}; "
            f"got {warmup_steps} and {decay_steps}"
        )
    if minimum > peak:
        raise ConfigError(f"{owner}: minimum must be at most peak, {peak}; got {minimum}")

    def rate(step: int) -> float:
        expect_step(owner, step)
        if step < warmup_steps:
            return peak * (step + 1) / (warmup_steps + 1)
        if step >= total_steps:
            return minimum
        progress = max(0.0, (step - total_steps + decay_steps) / max(decay_steps, 1))
        return peak - (peak - minimum) * (math.sqrt(progress) if shape == "sqrt" else progress)

    return rate


def one_cycle(
    peak: float,
    total_steps: int,
    rising: float = 0.3,
    shape: str = "cosine",
    initial_divisor: float = 25.0,
    final_divisor: float = 1e4,
) -> Schedule:
    """Rise from peak / initial_divisor to `peak`, then fall far below the start (Smith 2018, arXiv:1803.09820).

    The rise takes the share `rising` of all steps; the fall ends at peak / initial_divisor / final_divisor. Both follow
    half a cosine, or with shape "linear" a straight line. The numbers are those of PyTorch's OneCycleLR.

    >>> rate = one_cycle(peak=1.0, total_steps=10)
    >>> [round(rate(step), 4) for step in (0, 2, 9)]
    [0.04, 1.0, 0.0]

    Units: steps count updates. Raises: ConfigError for numbers outside their range
    """
    expect_number("one_cycle", "peak", peak)
    expect_number("one_cycle", "total_steps", total_steps, low=1)
    expect_number("one_cycle", "rising", rising, high=1.0)
    expect_number("one_cycle", "initial_divisor", initial_divisor, low=1)
    expect_number("one_cycle", "final_divisor", final_divisor, low=1)
    expect_choice("one_cycle", "shape", shape, ("cosine", "linear"))
    initial = peak / initial_divisor
    top, last = rising * total_steps - 1, total_steps - 1

    def rate(step: int) -> float:
        expect_step("one_cycle", step)
        if step <= top:
            return _between(initial, peak, step / top if top else 1.0)
        return _between(peak, initial / final_divisor, min(1.0, (step - top) / (last - top)))

    def _between(start: float, end: float, progress: float) -> float:
        if shape == "linear":
            return start + (end - start) * progress
        return end + (start - end) / 2 * (1 + math.cos(math.pi * progress))

    return rate
