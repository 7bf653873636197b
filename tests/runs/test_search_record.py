"""The record of a search: rungs, survivors and ranks from the losses alone; written and read again."""

import itertools
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinygrad_llm.errors import CheckpointError, ConfigError, FormatError
from tinygrad_llm.runs.search_record import RECORD, Rung, SearchRecord, Trial, TrialRun, rungs_of, steps_of


@given(trials=st.integers(1, 40), steps=st.integers(1, 5000), factor=st.integers(2, 4))
def test_rungs_halve_the_trials_and_multiply_the_steps(trials: int, steps: int, factor: int) -> None:
    try:
        rungs = rungs_of(trials, steps, factor)
    except ConfigError:
        assert steps < factor * trials
        return
    assert rungs[0].trials == trials and rungs[-1].trials == 1
    for rung, following in itertools.pairwise(rungs):
        assert following.steps == factor * rung.steps and following.trials == max(1, rung.trials // factor)
    assert steps <= rungs[-1].steps < steps + factor ** (len(rungs) - 1)
    assert steps_of(rungs) <= trials * rungs[-1].steps


def record_of(losses: list[list[Any]], rungs: list[Rung]) -> SearchRecord:
    """One trial with one run for each list of losses."""
    trials = []
    for number, row in enumerate(losses, 1):
        reached = {rung.steps: loss for rung, loss in zip(rungs, row, strict=False)}
        trials.append(Trial(number, {"x": number}, [TrialRun(0, f"trial-{number}", reached)]))
    return SearchRecord({"vary": ["x=1,2"]}, rungs, trials)


def test_the_better_half_goes_on_and_what_diverged_does_not() -> None:
    rungs = [Rung(10, 4), Rung(20, 2), Rung(40, 1)]
    record = record_of([[3.0, 2.5], [1.0, 2.6], [None], [4.0]], rungs)
    assert [[trial.number for trial in record.trials_of(rung)] for rung in range(3)] == [[1, 2, 3, 4], [1, 2], [1]]
    assert [trial.number for trial in record.ranked()] == [1, 2, 4, 3]
    assert record.best() is None
    record.trials[0].runs[0].losses[40] = 2.0
    assert record.best() is record.trials[0]
    all_but_one = record_of([[None], [None], [5.0], [None]], rungs)
    assert [trial.number for trial in all_but_one.trials_of(1)] == [3]


def test_equal_losses_keep_the_first_trial_and_seeds_count_by_their_mean() -> None:
    rungs = [Rung(5, 3), Rung(10, 1)]
    record = record_of([[2.0], [2.0], [1.9]], rungs)
    record.trials[2].runs.append(TrialRun(1, "other"))
    assert [trial.number for trial in record.trials_of(1)] == [1]  # the third lacks a seed
    record.trials[2].runs[1].losses[5] = 2.0
    assert [trial.number for trial in record.trials_of(1)] == [3]
    assert record.trials[2].loss_at(5) == pytest.approx(1.95)


def test_it_is_read_as_it_was_written(tmp_path: Path) -> None:
    record = record_of([[3.0, 2.0], [None]], [Rung(5, 2), Rung(10, 1)])
    record.trials[1].runs[0].diverged_after = 3
    record.save(tmp_path)
    read = SearchRecord.read(tmp_path)
    assert read == record and read.to_dict()["best"] == {"trial": 1, "run": "trial-1", "val_loss": 2.0}


@pytest.mark.parametrize("content", ["[]", "{}", '{"version": 1, "request": {}, "rungs": [], "trials": []}', "x"])
def test_another_file_is_refused(tmp_path: Path, content: str) -> None:
    (tmp_path / RECORD).write_text(content)
    with pytest.raises((CheckpointError, FormatError), match=RECORD):
        SearchRecord.read(tmp_path)


def test_a_run_outside_of_the_folder_is_refused(tmp_path: Path) -> None:
    record = record_of([[3.0]], [Rung(5, 1)])
    record.trials[0].runs[0].folder = "../other"
    record.save(tmp_path)
    with pytest.raises(CheckpointError, match="a run's folder must be a plain name"):
        SearchRecord.read(tmp_path)
