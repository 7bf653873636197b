"""How the minutes are divided: all are given out, whatever was spent before."""

import pytest

from tinygrad_llm.speedrun.budget import SHARES, TRAINED, Budget


@pytest.mark.parametrize("minutes", [1, 10, 60])
def test_the_parts_are_all_of_the_minutes(minutes: int) -> None:
    budget = Budget(60.0 * minutes)
    spent = budget.speed + budget.study
    for stage in TRAINED:
        spent += budget.of_stage(stage, spent) + budget.overhead
    assert spent == pytest.approx(budget.seconds)
    assert sum(SHARES.values()) == pytest.approx(1)
    assert (budget.study > 0) == (minutes >= 20)


def test_what_is_late_shortens_what_comes_later() -> None:
    budget = Budget(600.0)
    in_time, late = budget.of_stage("reinforce", 400.0, 10.0), budget.of_stage("reinforce", 500.0, 10.0)
    assert (in_time, late) == (pytest.approx(190), pytest.approx(90))
    assert budget.of_stage("reinforce", 700.0, 10.0) == 1  # a stage is never left out


def test_more_minutes_are_graded_by_more_held_out_records() -> None:
    assert [Budget(60.0 * minutes).held_out_per_kind for minutes in (0.25, 1, 10, 60)] == [3, 3, 20, 50]
