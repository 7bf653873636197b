"""Learning rates over time: each function returns another, `rate(step)`, that a training loop asks before each update.

Steps count from 0: `rate(0)` is for the first update, `rate(total_steps - 1)` for the last. A loop that counts first
and asks later must therefore start at -1; one that starts at 0 skips `rate(0)` and is one step early ever after.

    rate = warmup_cosine(peak=1e-3, warmup_steps=100, total_steps=2000)
    for step in range(2000):
        for group in optimizer.param_groups:
            group["lr"] = rate(step)
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, TypeAlias

from tinygrad_llm.checks import expect_count, expect_number
from tinygrad_llm.errors import ConfigError
from tinygrad_llm.lazy import lazy_imports

if TYPE_CHECKING:
    from tinygrad_llm.optim.more_schedules import constant, inverse_square_root, linear, one_cycle, warmup_stable_decay

__all__ = ["Schedule", "constant", "inverse_square_root", "linear", "one_cycle", "warmup_cosine", "warmup_stable_decay"]

__getattr__, __dir__ = lazy_imports(__name__)

Schedule: TypeAlias = Callable[[int], float]


def warmup_cosine(
    peak: float, warmup_steps: int, total_steps: int, minimum: float = 0.0, initial: float | None = None
) -> Schedule:
    """Rise linearly to `peak`, then fall along half a cosine to `minimum` (Loshchilov & Hutter 2016, arXiv:1608.03983).

        step < warmup_steps:   initial + step · (peak - initial) / warmup_steps
        step < total_steps:    minimum + (peak - minimum) · ½ (1 + cos(π · progress)),
                               progress = (step - warmup_steps) / (total_steps - warmup_steps)
        afterwards:            minimum

    So `rate(0)` is `initial`, `rate(warmup_steps)` is `peak`, and `rate(total_steps)`, which no update uses any more,
    would be `minimum`. Without `initial` the ramp starts one stair above zero, at peak / (warmup_steps + 1): from zero
    itself the first update would change nothing.

    >>> rate = warmup_cosine(peak=0.01, warmup_steps=27, total_steps=135, minimum=1e-4, initial=1e-4)
    >>> [round(rate(step), 6) for step in (0, 1, 26, 27, 81, 134)]
    [0.0001, 0.000467, 0.009633, 0.01, 0.00505, 0.000102]

    Units: steps count updates. Raises: ConfigError unless 0 <= warmup_steps <= total_steps and the rates are finite,
    not negative, and `minimum` and `initial` at most `peak`.
    """
    for name, value in (("peak", peak), ("warmup_steps", warmup_steps), ("total_steps", total_steps)):
        expect_number("warmup_cosine", name, value)
    if initial is None:
        initial = peak / (warmup_steps + 1)
    expect_number("warmup_cosine", "minimum", minimum)
    expect_number("warmup_cosine", "initial", initial)
    if warmup_steps > total_steps:
        raise ConfigError(f"warmup_cosine: warmup_steps must be at most total_steps, {total_steps}; got {warmup_steps}")
    if max(minimum, initial) > peak:
        raise ConfigError(
            f"warmup_cosine: peak must be the highest rate; got peak {peak}, minimum {minimum}, initial {initial}"
        )
    increment = (peak - initial) / max(warmup_steps, 1)

    def rate(step: int) -> float:
        expect_step("warmup_cosine", step)
        if step < warmup_steps:
            return initial + step * increment
        if step >= total_steps:
            return minimum
        progress = (step - warmup_steps) / (total_steps - warmup_steps)
        return minimum + (peak - minimum) * 0.5 * (1.0 + math.cos(math.pi * progress))

    return rate


def expect_step(schedule: str, step: int) -> None:
    """Raises ConfigError for a step before the first."""
    expect_count(schedule, "step (0 is the first update)", step, at_least=0)
