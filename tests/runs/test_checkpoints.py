"""Checkpoints by their steps: `--keep-every` keeps them, and each opens like a run."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from tiny_base import call
from training_process import SIZES, TEXT

from tinygrad_llm.errors import ConfigError
from tinygrad_llm.runs import load
from tinygrad_llm.runs.checkpoints import checkpoint_at, checkpoint_steps, run_of

TRAIN = ["train", "--data", "text.txt", "--out", "run", *SIZES, "--eval-interval", "5", "--keep", "1"]


@pytest.fixture
def command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., tuple]:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "text.txt").write_text(TEXT)
    return lambda *argv: call(capsys, *argv)


def weights(path: str | Path) -> dict[str, np.ndarray]:
    return {name: array.copy() for name, array in load(path)[0].state_dict().items()}


def test_keep_every_saves_between_evaluations_and_changes_no_bit(command: Callable[..., tuple]) -> None:
    assert command(*TRAIN, "--steps", "8", "--keep-every", "3")[0] == 0
    steps = checkpoint_steps("run")
    assert {0, 3, 6, 8} <= set(steps) and len(steps) <= 5  # 5 is the best, perhaps
    metrics = Path("run/metrics.jsonl").read_text()
    kept, last = weights("run/checkpoints/step-00000006"), weights("run")
    shutil.rmtree("run")
    assert command(*TRAIN, "--steps", "8", "--stop-at", "6")[0] == 0
    for name, array in weights("run").items():
        np.testing.assert_array_equal(array, kept[name])
    assert command(*TRAIN, "--resume", "--keep-every", "7")[0] == 0
    assert checkpoint_steps("run")[-2:] == [7, 8]
    for name, array in weights("run").items():
        np.testing.assert_array_equal(array, last[name])
    losses = [
        [json.loads(line)["train_loss"] for line in text.splitlines()]
        for text in (metrics, Path("run/metrics.jsonl").read_text())
    ]
    assert losses[0] == losses[1]


def test_a_checkpoint_opens_in_the_commands(command: Callable[..., tuple]) -> None:
    assert command(*TRAIN, "--steps", "4", "--keep-every", "2")[0] == 0
    checkpoint = "run/checkpoints/step-00000002"
    code, by_path, errors = command("inspect", "--model", checkpoint, "--prompt", "abc")
    assert (code, errors) == (0, [])
    code, by_step, errors = command("inspect", "--model", "run", "--step", "2", "--prompt", "abc")
    assert (code, errors) == (0, [])
    assert by_path.splitlines()[0] == by_step.splitlines()[0]
    assert command("inspect", "--model", "run", "--prompt", "abc")[1].splitlines()[0] != by_step.splitlines()[0]
    assert command("generate", "--model", checkpoint, "--prompt", "a", "--max-new-tokens", "3")[0] == 0


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["inspect", "--model", "run", "--step", "3", "--prompt", "abc"], "in run: 0, 2, 4; got 3"),
        (["inspect", "--model", "run", "--step", "-1", "--prompt", "abc"], "got -1"),
        (["inspect", "--model", "run/checkpoints/step-00000003", "--prompt", "abc"], "step-00000003"),
        (["train", "--data", "text.txt", "--out", "other", *SIZES, "--keep-every", "-1"], "at least 0; got -1"),
    ],
)
def test_wrong_steps_are_refused_in_one_line(command: Callable[..., tuple], flags: list[str], words: str) -> None:
    assert command(*TRAIN, "--steps", "4", "--keep-every", "2")[0] == 0
    code, _, errors = command(*flags)
    assert code in (1, 2) and len(errors) == 1 and words in errors[0]
    assert not Path("other").exists()


def test_a_folder_that_is_no_checkpoint_stays_itself(tmp_path: Path) -> None:
    lonely = tmp_path / "checkpoints" / "step-00000001"
    lonely.mkdir(parents=True)
    assert run_of(lonely) == lonely and checkpoint_steps(tmp_path / "none") == []
    (tmp_path / "config.json").write_text("{}")
    assert run_of(lonely) == tmp_path and run_of(tmp_path) == tmp_path
    assert checkpoint_at(tmp_path, 1) == lonely
    with pytest.raises(ConfigError, match="none; got 1"):
        checkpoint_at(tmp_path / "checkpoints", 1)
