"""The demo of inference-time scaling: a right answer gets likelier, and a weak reward is over-optimised."""

import re
from collections.abc import Callable

import numpy as np
import pytest


@pytest.mark.slow
def test_a_reward_rises_while_right_answers_fall(printed: Callable[[str], str]) -> None:
    output = printed("inference_scaling")
    rows = np.array([row.split() for row in re.findall(r"^ +\d+(?: +-?\d+\.\d+){6}$", output, re.M)], float)
    counts, passed, majority, many, few, many_reward, few_reward = rows.T
    assert counts.tolist() == [2**power for power in range(7)]
    assert passed[0] == majority[0] == many[0] == few[0] > 10
    assert (np.diff(passed) >= 0).all() and passed[-1] > 90 and (passed >= np.maximum(many, few)).all()
    assert (np.diff(many_reward) >= 0).all() and (np.diff(few_reward) >= 0).all()
    assert many_reward[-1] > many_reward[0] and few_reward[-1] > few_reward[0]
    assert many[-1] < many[0] and few[-1] < few[0]
