"""`speedrun`: refusals; the whole road under kills and Ctrl-C; the card's commands make its runs again."""

from __future__ import annotations

import json
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from tiny_base import call, make_base
from training_process import PATIENCE, PROGRAM, held, start

from tinygrad_llm.cli import main
from tinygrad_llm.formats import read_json_object, read_safetensors
from tinygrad_llm.speedrun.journal import JOURNAL

STAGES = ("base", "instruct", "reinforce")


@pytest.mark.parametrize("minutes", ["0", "-1", "0.1", "1441", "1e9", "nan", "inf"])
def test_minutes_have_a_range(minutes: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "run"
    code, _, errors = call(capsys, "speedrun", f"--minutes={minutes}", "--out", out)
    assert code == 2 and not out.exists()
    assert errors[0].startswith("tinygrad-llm speedrun: --minutes must be a number in [0.25, 1440]; got ")


@pytest.mark.parametrize("workers", ["0", "-1", "1025", "2.5", "abc"])
def test_workers_are_a_number_or_auto(workers: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "run"
    code, _, errors = call(capsys, "speedrun", f"--workers={workers}", "--out", out)
    assert code == 2 and not out.exists()
    assert errors[0].startswith("tinygrad-llm speedrun: --workers must be an integer in [1, 1024] or auto; got ")


def test_a_folder_of_something_else_is_not_written_into(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = make_base(tmp_path / "run")
    for arguments, words in (
        (["--out", run], "--out must be a new or empty folder, or that of a speedrun; got "),
        (["--out", tmp_path / "none", "--resume"], "leave out --resume to begin one there"),
        (["--out", tmp_path / "none", "--data", tmp_path / "missing.txt", "--plan"], "missing.txt"),
    ):
        code, _, errors = call(capsys, "speedrun", "--minutes", "1", *arguments)
        assert code == 2 and len(errors) == 1 and words in errors[0]
    assert not (run / JOURNAL).exists() and not (tmp_path / "none").exists()


def words(out: Path) -> list[str]:
    return [*PROGRAM, "speedrun", "--minutes", "0.25", "--data", "python-docs", "--out", str(out)]


STEPS_OF_STAGE = """
from tinygrad_llm.runs import RunFolder
from tinygrad_llm.train import Trainer

def take_step(trainer, step=Trainer.take_step):
    if {stage!r} in [one.path.name for one in trainer.callbacks if isinstance(one, RunFolder)]:
        trainer.step_of_stage()
    step(trainer)

Trainer.take_step, Trainer.step_of_stage = take_step, lambda trainer: None
"""


def held_in(stage: str, command: list[str]) -> list[str]:
    """The same command, whose process waits for a signal after the first steps of a stage."""
    python, option, program, *rest = held(command, 15, "tinygrad_llm.train:Trainer.step_of_stage")
    return [python, option, STEPS_OF_STAGE.format(stage=stage) + program, *rest]


def wait_for(process: subprocess.Popen[str], out: Path, stage: str) -> bool:
    """Wait until the run of a stage has a planned number of steps, and steps in its log; False if it ended before."""
    deadline = time.monotonic() + PATIENCE
    while process.poll() is None and time.monotonic() < deadline:
        log = out / stage / "metrics.jsonl"
        if (out / JOURNAL).exists() and log.exists():
            record: dict[str, Any] = read_json_object(out / JOURNAL)["stages"].get(stage, {})
            if "steps" in record and log.read_text().count("\n") > 10:
                return True
        time.sleep(0.02)
    return False


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="kills processes")
def test_it_is_resumed_in_every_stage_and_its_runs_are_those_of_their_commands(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out, kill = tmp_path / "run", {"base": signal.SIGKILL, "instruct": signal.SIGINT, "reinforce": signal.SIGKILL}
    for stage in STAGES:
        process = start(held_in(stage, words(out)))
        assert wait_for(process, out, stage), process.communicate()
        process.send_signal(kill[stage])
        printed, errors = process.communicate(timeout=PATIENCE)
        if kill[stage] == signal.SIGINT:
            assert process.returncode == 130 and f"speedrun --resume --out {out}" in printed
        else:
            assert process.returncode == -signal.SIGKILL and errors == ""
    done = start(words(out))
    printed, errors = done.communicate(timeout=PATIENCE)
    assert (done.returncode, errors) == (0, "") and "base: finished before" in printed
    report = json.loads((out / "report.json").read_text())
    assert report["cpu_seconds"] is None and report["stages"]["instruct"]["cpu_seconds"] is not None
    assert [stage["steps"] for stage in report["stages"].values()] == [
        read_json_object(out / JOURNAL)["stages"][stage]["steps"] for stage in STAGES
    ]
    # the command of the card makes the same weights, to the bit, without interruptions
    again = shlex.split(report["stages"]["base"]["commands"][0])
    again = again[again.index("train") :]
    again[again.index("--out") + 1] = str(tmp_path / "again")
    assert main(again) == 0
    weights, same = (read_safetensors(folder / "model.safetensors") for folder in (out / "base", tmp_path / "again"))
    assert weights.keys() == same.keys()
    assert all((weights[name] == same[name]).all() for name in weights)
    # and the answers of a stage are computed again from outside
    again = shlex.split(report["stages"]["reinforce"]["commands"][1])
    again = again[again.index("instruct") :]
    again[again.index("--report") + 1] = str(tmp_path / "answers.json")
    assert main(again) == 0
    right = read_json_object(tmp_path / "answers.json")["exact_match"]
    assert right == report["stages"]["reinforce"]["accuracy"]["all"]
    capsys.readouterr()
