"""What a speedrun would do, without doing it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from tinygrad_llm.data import TASKS
from tinygrad_llm.runs import StatusLine, duration
from tinygrad_llm.runs.hints import command
from tinygrad_llm.speedrun import choosing
from tinygrad_llm.speedrun.budget import LEAST_MINUTES_OF_STUDY, TRAINED, Budget
from tinygrad_llm.speedrun.journal import Journal
from tinygrad_llm.speedrun.road import IDS, chosen_size

PLANNED_SPEED_SECONDS = 6.0


def plan_of(journal: Journal, status: StatusLine) -> Iterator[str]:
    """The lines of `--plan`: the speed of this machine is measured, everything else computed."""
    asked = journal.settings
    budget = Budget(asked.seconds)
    record: dict[str, Any] = {
        "unique_tokens": choosing.unique_tokens(asked.data),
        "speeds": choosing.measured_speeds(
            asked, min(budget.speed, PLANNED_SPEED_SECONDS), lambda words: status.renew(lambda: words, immediately=True)
        ),
    }
    record |= chosen_size(record, budget)
    speed, size = choosing.speed_of(record["speeds"]), record["parameters"]
    yield f"speed of this machine with --workers {asked.workers}, {duration(budget.speed)}:"
    for one in record["speeds"]:
        yield f"  {one['parameters']:>10,} parameters: {one['tokens_per_second']:>8,.0f} tokens/s"
    if budget.study:
        grid = sorted(set(choosing.study_grid(record["best"], speed, budget.study)))
        yield f"scaling law, {duration(budget.study)}: {len(grid)} small trainings on {asked.data}"
        for parameters, steps in grid:
            yield f"  {parameters:>10,} parameters, {steps:>6,} steps"
        yield "its fit decides the size; by the recorded law:"
    else:
        yield f"scaling law: the recorded one (its own from {LEAST_MINUTES_OF_STUDY:g} minutes on)"
    words = f"{size:,} parameters, {float(speed.tokens(size, 1.0)):,.0f} tokens/s"
    read = float(speed.tokens(size, record["seconds"]))
    words += f": {read:,.0f} tokens, {read / record['unique_tokens']:.1f} times the text"
    spent = budget.speed + budget.study
    for name in TRAINED:
        seconds = budget.of_stage(name, spent)
        spent += seconds + budget.overhead
        yield f"{name}, {duration(seconds)}" + (f": {words}" if name == "base" else "")
    held_out = budget.held_out_per_kind * len(TASKS)
    yield f"after each of them, {held_out:,} held-out instructions; the report card in {journal.folder}"
    yield f"the base model: {command(*choosing.pretraining(asked, journal.folder / IDS, size))}"
