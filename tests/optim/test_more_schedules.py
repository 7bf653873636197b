"""Linear, warmup-stable-decay and one-cycle schedules, step by step and against PyTorch's."""

import math
from collections.abc import Callable
from typing import Any

import pytest

from tinygrad_llm.errors import ConfigError
from tinygrad_llm.optim import linear, one_cycle, warmup_stable_decay


def test_linear_rises_and_falls_in_straight_lines() -> None:
    rate = linear(1.0, 4, 12, minimum=0.2)
    assert [rate(step) for step in range(4)] == pytest.approx([0.2, 0.4, 0.6, 0.8])
    assert [rate(step) for step in (4, 8, 11, 12, 99)] == pytest.approx([1.0, 0.6, 0.3, 0.2, 0.2])


def test_warmup_stable_decay_stays_at_the_peak() -> None:
    rate = warmup_stable_decay(2.0, 2, 20, 4, shape="sqrt")
    assert [rate(step) for step in range(2, 17)] == [2.0] * 15
    assert [rate(step) for step in (17, 18, 19, 20)] == pytest.approx(
        [2 - 2 * math.sqrt(x) for x in (0.25, 0.5, 0.75, 1)]
    )


@pytest.mark.parametrize("shape", ["cosine", "linear"])
@pytest.mark.parametrize("total", [10, 37])
def test_one_cycle_equals_pytorch(total: int, shape: str) -> None:
    torch = pytest.importorskip("torch")
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0)
    theirs = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, 0.6, total, anneal_strategy={"cosine": "cos"}.get(shape, shape), cycle_momentum=False
    )
    rate = one_cycle(0.6, total, shape=shape)
    for step in range(total):
        assert rate(step) == pytest.approx(optimizer.param_groups[0]["lr"], abs=1e-12)
        optimizer.step()
        if step < total - 1:
            theirs.step()


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: linear(1.0, 5, 4), "must fit into total_steps|at least 0"),
        (lambda: linear(1.0, 1, 4, minimum=2.0), "minimum must be at most peak"),
        (lambda: warmup_stable_decay(1.0, 1, 4, 2, shape="cube"), "shape must be"),
        (lambda: linear(1.0, 1, 4, minimum=2.0), "^linear: "),
        (lambda: one_cycle(1.0, 0), "total_steps must be"),
        (lambda: one_cycle(1.0, 9, rising=1.0), "rising must be .* below 1;"),
        (lambda: one_cycle(1.0, 9, initial_divisor=0.5), "initial_divisor must be .* at least 1 "),
        (lambda: one_cycle(1.0, 9, final_divisor=0.5), "final_divisor must be .* at least 1 "),
        (lambda: one_cycle(1.0, 10)(-1), "step .0 is the first update. must be"),
    ],
)
def test_misfitting_arguments_are_refused(make: Callable[..., Any], says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        make()


def test_one_cycle_of_a_rise_of_one_step_begins_at_the_peak() -> None:
    assert one_cycle(1.0, 10, rising=0.1)(0) == 1.0


def test_the_least_numbers_that_one_cycle_takes() -> None:
    assert one_cycle(2.0, 1, initial_divisor=1, final_divisor=1)(0) == 2.0


def test_a_minimum_equal_to_the_peak_is_a_constant_rate() -> None:
    assert linear(1.0, 0, 5, minimum=1.0)(3) == warmup_stable_decay(1.0, 0, 5, 2, minimum=1.0)(4) == 1.0


def test_one_cycle_in_straight_lines() -> None:
    rate = one_cycle(1.0, 11, rising=0.5, shape="linear", initial_divisor=2.0, final_divisor=5.0)
    assert [rate(step) for step in (0, 10)] == pytest.approx([0.5, 0.1])
    assert rate(2) == pytest.approx(0.5 + 0.5 * 2 / 4.5) and rate(7) == pytest.approx(1 - 0.9 * 2.5 / 5.5)


@pytest.mark.parametrize("shape", ["cosine", "linear"])
def test_after_its_last_step_one_cycle_stays_at_its_end(shape: str) -> None:
    rate = one_cycle(1.0, 10, shape=shape)
    assert rate(9) == rate(10) == rate(14) == pytest.approx(1 / 25 / 1e4)
