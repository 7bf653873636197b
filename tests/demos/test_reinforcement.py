"""The demo of reinforcement learning: GRPO raises the right answers, PPO without a penalty raises the reward alone."""

import re
from collections.abc import Callable

import pytest


@pytest.mark.slow
def test_rewards_rise_and_are_hacked_without_a_penalty(printed: Callable[[str], str]) -> None:
    output = printed("reinforcement")
    tuned, grouped, agreement = map(float, re.search(r"^ +0 +([\d.]+)% +([\d.]+)% +([\d.]+)%$", output, re.M).groups())
    assert grouped > tuned + 2 and agreement > 50
    rows = re.findall(r"^ +0 +([\d.]+) +(-?[\d.]+) +(-?[\d.]+) +(-?[\d.]+) +([\d.]+) +([\d.]+)%$", output, re.M)
    penalised, free = ({"beta": float(row[0]), "kl": float(row[3]), "right": float(row[5])} for row in rows)
    assert (penalised["beta"], free["beta"]) == (1.0, 0.0)
    assert free["kl"] > 5 * penalised["kl"] and free["right"] < penalised["right"]
    assert all(float(last) > float(first) for _, first, last, *_ in rows)
