"""Learning-rate schedules against the published programs' own loops."""

import math
from collections.abc import Callable
from typing import Any

import pytest

from tinygrad_llm.errors import ConfigError
from tinygrad_llm.optim import schedules


def test_the_books_loop_to_the_bit() -> None:
    """Appendix D: 15 epochs of 9 batches, a fifth of the steps to warm up, a count that starts at -1."""
    peak, initial, minimum, epochs, batches = 1e-3, 3e-5, 1e-6, 15, 9
    total = epochs * batches
    warmup = int(0.2 * total)
    assert warmup == 27
    rate = schedules.warmup_cosine(peak, warmup, total, minimum=minimum, initial=initial)
    increment, global_step, used = (peak - initial) / warmup, -1, []
    for _ in range(total):
        global_step += 1
        if global_step < warmup:
            lr = initial + global_step * increment
        else:
            progress = (global_step - warmup) / (total - warmup)
            lr = minimum + (peak - minimum) * 0.5 * (1 + math.cos(math.pi * progress))
        used.append(lr)
    assert [rate(step) for step in range(total)] == used
    assert used[0] == initial
    assert used[27] == max(used) == pytest.approx(peak)


def test_nanogpts_loop() -> None:
    peak, minimum, warmup, total = 1e-3, 1e-4, 100, 2000
    rate = schedules.warmup_cosine(peak, warmup, total, minimum)
    for it in range(total + 5):
        if it < warmup:
            expected = peak * (it + 1) / (warmup + 1)
        elif it > total:
            expected = minimum
        else:
            progress = (it - warmup) / (total - warmup)
            expected = minimum + 0.5 * (1.0 + math.cos(math.pi * progress)) * (peak - minimum)
        assert rate(it) == pytest.approx(expected, rel=1e-13)


def test_warmup_cosine_by_hand() -> None:
    rate = schedules.warmup_cosine(peak=1.0, warmup_steps=4, total_steps=12, minimum=0.2, initial=0.0)
    assert [rate(step) for step in range(5)] == [0.0, 0.25, 0.5, 0.75, 1.0]
    assert rate(8) == pytest.approx(0.6)  # half way down
    assert rate(12) == rate(10**9) == 0.2


def test_the_first_update_is_not_lost_by_default() -> None:
    assert schedules.warmup_cosine(peak=1.0, warmup_steps=4, total_steps=12)(0) == pytest.approx(0.2)


def test_warmup_of_no_step_and_of_all_steps() -> None:
    rate = schedules.warmup_cosine(peak=1.0, warmup_steps=0, total_steps=2)
    assert [rate(0), pytest.approx(rate(1)), rate(2)] == [1.0, 0.5, 0.0]
    rate = schedules.warmup_cosine(peak=1.0, warmup_steps=2, total_steps=2, initial=0.5)
    assert [rate(0), rate(1), rate(2)] == [0.5, 0.75, 0.0]


def test_inverse_square_root_is_the_papers() -> None:
    width, warmup = 512, 4000
    rate = schedules.inverse_square_root((width * warmup) ** -0.5, warmup)
    for n in (1, 2, 3999, 4000, 4001, 100_000):
        assert rate(n - 1) == pytest.approx(width**-0.5 * min(n**-0.5, n * warmup**-1.5), rel=1e-13)


def test_constant() -> None:
    rate = schedules.constant(0.3)
    assert rate(0) == rate(10**6) == 0.3


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: schedules.constant(-1.0), "learning_rate"),
        (lambda: schedules.constant("x"), "learning_rate"),
        (lambda: schedules.warmup_cosine(math.nan, 1, 2), "peak"),
        (lambda: schedules.warmup_cosine(1.0, -1, 2), "warmup_steps"),
        (lambda: schedules.warmup_cosine(1.0, 3, 2), "warmup_steps must be at most total_steps, 2; got 3"),
        (lambda: schedules.warmup_cosine(1.0, 1, 2, minimum=2.0), "peak must be the highest"),
        (lambda: schedules.warmup_cosine(1.0, 1, 2, initial=2.0), "peak must be the highest"),
        (lambda: schedules.warmup_cosine(1.0, 1, 2, initial=-0.1), "initial"),
        (lambda: schedules.inverse_square_root(1.0, 0), "warmup_steps"),
        (lambda: schedules.inverse_square_root(-1.0, 1), "peak"),
        (lambda: schedules.constant(1.0)(-1), r"step \(0 is the first update\)"),
        (lambda: schedules.warmup_cosine(1.0, 1, 2)(-1), r"step \(0 is the first update\)"),
        (lambda: schedules.inverse_square_root(1.0, 1)(-1), r"step \(0 is the first update\)"),
    ],
)
def test_errors(make: Callable[..., Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        make()


def test_with_warmup_alone_the_end_is_the_minimum() -> None:
    for make in (schedules.warmup_cosine, schedules.linear):
        assert make(1.0, 4, 4, minimum=0.5)(4) == 0.5


def test_without_warmup_the_first_rate_is_the_peak_whatever_the_initial_one() -> None:
    assert schedules.warmup_cosine(1.0, 0, 10, initial=0.1)(0) == 1.0
