"""The stages: runs are begun, measured, planned and resumed by commands, and nothing is done twice."""

import io
import itertools
import json
import time
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest

from tinygrad_llm.measure.scaling_law import LEAST_POINTS, ScalingLaw, Speed, best_size
from tinygrad_llm.runs import StatusLine
from tinygrad_llm.speedrun import choosing
from tinygrad_llm.speedrun.budget import Budget
from tinygrad_llm.speedrun.journal import Journal, SpeedrunSettings
from tinygrad_llm.speedrun.measuring import ANSWERS
from tinygrad_llm.speedrun.report import carried_out
from tinygrad_llm.speedrun.road import LEAST_STEPS, TIMED_STEPS, UNPLANNED, Road, chosen_size, learnable_kinds

SPEEDS = [
    {"parameters": 100_000, "tokens_per_second": 40_000.0},
    {"parameters": 1_000_000, "tokens_per_second": 9_000.0},
]


class Commands:
    """Carries out training commands by writing the files that the road looks at; each step takes 0.1 s."""

    def __init__(self, interrupted_at: int = -1) -> None:
        self.lines: list[list[str]] = []
        self.interrupted_at = interrupted_at

    def __call__(self, words: Sequence[str]) -> int:
        if len(self.lines) == self.interrupted_at:
            raise KeyboardInterrupt
        self.lines.append(list(words))
        flags = dict(itertools.pairwise(words))
        run, steps = Path(flags["--out"]), int(flags.get("--stop-at", flags["--steps"]))
        (run / "checkpoints" / f"step-{steps:08d}").mkdir(parents=True)
        records = [{"step": step, "train_loss": 1.0, "seconds": 0.1} for step in range(1, steps + 1)]
        (run / "metrics.jsonl").write_text("".join(json.dumps(record) + "\n" for record in records))
        return 0


def road(folder: Path, commands: Commands, minutes: float = 10.0) -> Road:
    return Road(Journal(folder, SpeedrunSettings(minutes=minutes)), commands, StatusLine(io.StringIO()))


def test_a_training_is_timed_and_then_given_the_steps_that_fit(tmp_path: Path) -> None:
    commands = Commands()
    one = road(tmp_path, commands)
    assert one._training("base", ["train", "--size", "100"]) == 0
    steps = int(Budget(600.0).of_stage("base", 0.0) / 0.1)
    run = str(tmp_path / "base")
    begun, resumed = commands.lines
    assert begun[:3] == ["train", "--size", "100"]
    assert begun[3:] == f"--out {run} --steps {UNPLANNED} --stop-at {TIMED_STEPS} --eval-interval 0".split()
    interval = -(-steps // 8)
    assert resumed == f"train --resume --out {run} --steps {steps} --eval-interval {interval}".split()
    # the command of the report card begins it with the number of steps that was decided
    recorded = one.journal.stage("base")["command"]
    assert recorded == f"train --size 100 --steps {steps} --eval-interval {interval} --out {run}".split()


def test_all_trainings_have_the_workers_that_were_asked_for(tmp_path: Path) -> None:
    journal = Journal(tmp_path, SpeedrunSettings(workers=3))
    journal.stage("size").update(parameters=100_000, speeds=SPEEDS, grid=[(50_000, 100)] * LEAST_POINTS)
    journal.stage("base")["seconds_per_step"] = 0.1
    (tmp_path / "instruct").mkdir()
    (tmp_path / "instruct" / ANSWERS).write_text(json.dumps({"kinds": {"half": {"exact_match": 0.5}}}))
    begun = []
    one = Road(journal, lambda words: begun.append(words) or 1, StatusLine(io.StringIO()))
    assert one._study(journal.stage("size")) == one._base() == one._instruct() == one._reinforce() == 1
    assert [dict(itertools.pairwise(words))["--workers"] for words in begun] == ["3"] * 4


def test_the_speed_is_measured_with_these_workers(monkeypatch: pytest.MonkeyPatch) -> None:
    steps, step = [], nullcontext(lambda: time.sleep(0.001))
    monkeypatch.setattr(choosing, "SharedStep", lambda *arguments: steps.append(arguments) or step)
    assert len(choosing.measured_speeds(SpeedrunSettings(workers=3, seed=5), 0.0)) == len(steps) == 2
    assert all(arguments[1:] == (3, 5, choosing.OPTIMIZER) for arguments in steps)


def test_what_was_decided_before_an_interruption_is_kept(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        road(tmp_path, Commands(interrupted_at=1))._training("base", ["train"])
    journal = Journal.open(tmp_path)
    steps = journal.stage("base")["steps"]
    commands = Commands()
    assert Road(journal, commands, StatusLine(io.StringIO()))._training("base", ["train"]) == 0
    assert [line[:2] for line in commands.lines] == [["train", "--resume"]]
    assert commands.lines[0][commands.lines[0].index("--steps") + 1] == str(steps)


def test_the_smallest_time_has_some_steps(tmp_path: Path) -> None:
    one = road(tmp_path, Commands(), minutes=0.25)
    one.journal.periods.append({"stage": "size", "began": 0.0, "seconds": 100.0, "cpu_seconds": 1.0, "load": 0.0})
    assert one._training("reinforce", ["reinforce"]) == 0
    assert one.journal.stage("reinforce")["steps"] == LEAST_STEPS["reinforce"]


def test_finished_stages_are_not_repeated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    one, done = road(tmp_path, Commands()), []
    for name in ("size", "base", "instruct", "reinforce"):
        monkeypatch.setattr(one, f"_{name}", lambda name=name: done.append(name) or 0)
    monkeypatch.setattr(one, "_instruct", lambda: 130)
    assert one.walk() == 130 and done == ["size", "base"]
    monkeypatch.setattr(one, "_instruct", lambda: done.append("instruct") or 0)
    assert one.walk() == 0 and done == ["size", "base", "instruct", "reinforce"]


def test_the_size_is_the_best_of_the_law_for_the_time_of_the_base_model() -> None:
    record: dict[str, Any] = {"speeds": SPEEDS, "unique_tokens": 500_000}
    short, long = (chosen_size(record, Budget(60.0 * minutes)) for minutes in (1, 10))
    assert short["best"] < long["best"]
    budget, speed = Budget(600.0), Speed.of_measurements([100_000, 1_000_000], [40_000, 9_000])
    expected = best_size(choosing.RECORDED, speed, budget.of_stage("base", budget.speed), 500_000)
    assert long["best"] == expected and abs(long["parameters"] / expected - 1) < 0.3
    fitted = ScalingLaw(1.0, 1000.0, 0.5, 1.0, 0.5)  # only size counts
    assert chosen_size({**record, "law": fitted.to_dict()}, Budget(600.0))["best"] > long["best"]


def test_the_study_takes_its_time_with_nine_trainings() -> None:
    speed = choosing.speed_of(SPEEDS)
    grid = list(choosing.study_grid(300_000, speed, 400.0))
    assert len(set(grid)) == 9
    assert min(steps for _, steps in grid) >= 2 * choosing.WARMUP_STEPS  # fewer would never reach the learning rate
    step = choosing.ROWS * choosing.CONTEXT
    assert sum(steps * step / float(speed.tokens(size, 1.0)) for size, steps in grid) == pytest.approx(400, rel=0.05)


def test_grpo_is_given_the_kinds_that_are_sometimes_right() -> None:
    shares = {"never": 0.0, "half": 0.5, "always": 1.0}
    shares |= {f"often {number}": 0.9 - number / 100 for number in range(9)}
    kinds = learnable_kinds({"kinds": {kind: {"exact_match": share} for kind, share in shares.items()}})
    assert kinds == ["half", *(f"often {number}" for number in range(2, 9))]


def test_a_model_that_is_never_right_is_not_reinforced(tmp_path: Path) -> None:
    commands = Commands()
    one = road(tmp_path, commands)
    (tmp_path / "instruct").mkdir()
    (tmp_path / "instruct" / ANSWERS).write_text(json.dumps({"kinds": {"never": {"exact_match": 0.0}}}))
    assert one._reinforce() == 0 and commands.lines == []
    assert carried_out(one.journal) == ["base", "instruct"]
