"""Training processes that are killed, interrupted, or robbed of their folder lose nothing that was saved."""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from training_process import (
    ENVIRONMENT,
    PATIENCE,
    PROGRAM,
    SIZES,
    TEXT,
    finish,
    held,
    log_size,
    memory,
    remains,
    start,
    training,
    wait_for_a_step,
)

import tinygrad_llm
from tinygrad_llm.formats import newest_whole_snapshot

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="kills processes and looks into /proc")

STEPS = ["--steps", "60", "--eval-interval", "4"]


@pytest.fixture
def folder() -> Iterator[Path]:
    """In memory where there is such a place: a killed process loses nothing there either, and fsync takes no time."""
    place = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    with tempfile.TemporaryDirectory(dir=place) as name:
        yield Path(name)


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, object]:
    folder = tmp_path_factory.mktemp("undisturbed")
    finish(training(folder, *STEPS))
    return remains(folder)


def kill_while_training(folder: Path, dice: random.Random) -> bool:
    """Let a process train for a moment and kill it; False if it was done before. What it leaves must open."""
    before = log_size(folder)
    with start(training(folder, *STEPS)) as process:
        if dice.random() < 0.8:
            wait_for_a_step(process, folder, before)
            time.sleep(dice.uniform(0, 0.1))
        else:  # while it starts
            time.sleep(dice.uniform(0, 0.4))
        process.kill()
        process.communicate()
    if process.returncode != -signal.SIGKILL:
        assert process.returncode == 0
        return False
    snapshot, problems = newest_whole_snapshot(folder / "run" / "checkpoints")
    assert not problems
    if (folder / "run" / "model.safetensors").exists():
        assert snapshot is not None
        tinygrad_llm.load(folder / "run")
    return True


def kill_often(folder: Path, kills: int, undisturbed: dict[str, object]) -> int:
    """Train run after run to its end in spite of `kills` kills; returns how many runs that took."""
    dice, done, runs = random.Random(0), 0, 0
    while done < kills:
        runs += 1
        while done < kills and kill_while_training(folder, dice):
            done += 1
        finish(training(folder, *STEPS))
        assert remains(folder) == undisturbed
        shutil.rmtree(folder / "run")
    return runs


def test_kill_9_at_any_moment_changes_no_bit(folder: Path, undisturbed: dict[str, Any]) -> None:
    assert len(undisturbed["log"]) == 60
    kill_often(folder, 1, undisturbed)


@pytest.mark.slow
def test_hundreds_of_kills_change_no_bit(folder: Any, undisturbed: Any) -> None:
    started = time.monotonic()
    runs = kill_often(folder, 300, undisturbed)
    print(f"300 kills in {runs} runs, {time.monotonic() - started:.0f} s")


@pytest.mark.parametrize(
    "signum",
    [signal.SIGTERM, *(pytest.param(signum, marks=pytest.mark.slow) for signum in (signal.SIGINT, signal.SIGHUP))],
)
def test_an_interruption_finishes_the_step_saves_and_changes_no_bit(
    folder: Path, undisturbed: dict[str, Any], signum: Any
) -> None:
    with start(held(training(folder, *STEPS), 30)) as process:
        wait_for_a_step(process, folder, 0)
        process.send_signal(signum)
        printed, errors = process.communicate(timeout=PATIENCE)
    assert (process.returncode, errors) == (128 + signum, "")
    logged = len(remains(folder)["log"])
    assert f"interrupted; saved after step {logged}\n" in printed
    assert f"continuing after step {logged}" in finish(training(folder))
    assert remains(folder) == undisturbed


@pytest.mark.slow
def test_a_second_writer_is_refused_while_the_first_lives_and_not_after_its_death(
    folder: Path, undisturbed: dict[str, Any]
) -> None:
    with start(held(training(folder, *STEPS), 30)) as first:
        wait_for_a_step(first, folder, 0)
        second = subprocess.run(training(folder), capture_output=True, text=True, env=ENVIRONMENT, timeout=PATIENCE)
        first.kill()
        first.communicate()
    assert second.returncode == 1
    assert len(second.stderr.splitlines()) == 1
    assert f"one run at a time may write here; process {first.pid}" in second.stderr
    finish(training(folder))
    assert remains(folder) == undisturbed


@pytest.mark.slow
def test_a_missing_run_folder_is_reported_and_its_checkpoint_opens_elsewhere(
    folder: Path, undisturbed: dict[str, Any]
) -> None:
    with start(held(training(folder, *STEPS), 10)) as process:
        wait_for_a_step(process, folder, 0)
        while not (folder / "run" / "model.safetensors").exists() and process.poll() is None:
            time.sleep(0.002)
        os.rename(folder / "run", folder / "elsewhere")
        process.send_signal(signal.SIGUSR1)
        _, errors = process.communicate(timeout=PATIENCE)
    assert process.returncode == 1
    assert len(errors.splitlines()) == 1 and str(folder / "run") in errors and "does not exist (any more)" in errors
    assert not (folder / "run").exists()
    os.rename(folder / "elsewhere", folder / "run")
    finish(training(folder))
    assert remains(folder) == undisturbed


FULL_AND_READ_ONLY = """
set -u
mount -t tmpfs -o size=2m tmpfs "$1" || exit 77
cd "$1"
shift
cp "$TEXT" text.txt
resume() { "$@" train --resume --out run; }
generate() { "$@" generate --model run --prompt The --max-new-tokens 2 --seed 0 >/dev/null; echo "generate: $?" >&2; }
"$@" train --data text.txt --out run $FLAGS --stop-at 9 >/dev/null; echo "begun: $?" >&2
free=$(df -k --output=avail . | tail -1)
head -c $(((free - 60) * 1024)) /dev/zero >ballast
resume "$@" >/dev/null; echo "no room for a checkpoint: $?" >&2
generate "$@"
cat /dev/zero >>ballast 2>/dev/null
resume "$@" >/dev/null; echo "no room at all: $?" >&2
generate "$@"
rm ballast
mount -o remount,ro,size=2m tmpfs .
resume "$@" >/dev/null; echo "read-only: $?" >&2
generate "$@"
mount -o remount,rw,size=2m tmpfs .
resume "$@" >/dev/null; echo "room again: $?" >&2
cp -r run "$RESULT/run"
"""


@pytest.mark.slow
def test_a_full_or_read_only_disk_is_reported_and_no_saved_step_is_lost(
    tmp_path: Path, undisturbed: dict[str, Any]
) -> None:
    (tmp_path / "disk").mkdir()
    (tmp_path / "text.txt").write_text(TEXT)
    surroundings = {"TEXT": str(tmp_path / "text.txt"), "FLAGS": " ".join(SIZES + STEPS), "RESULT": str(tmp_path)}
    command = ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c", FULL_AND_READ_ONLY, "sh"]
    try:
        done = subprocess.run(
            [*command, str(tmp_path / "disk"), *PROGRAM],
            capture_output=True,
            text=True,
            env=ENVIRONMENT | surroundings,
            timeout=PATIENCE,
        )
    except FileNotFoundError:
        pytest.skip("there is no unshare to mount a small disk with")
    if done.returncode == 77 or "unshare" in done.stderr:
        pytest.skip("mounting is not permitted here")
    begun, *lines = done.stderr.splitlines()
    assert begun == "begun: 0"
    said, code, writes = lines[0:3]
    assert "the disk is full" in said and code == "no room for a checkpoint: 1" and writes == "generate: 0"
    said, code, writes = lines[3:6]
    assert "the disk is full" in said and code == "no room at all: 1" and writes == "generate: 0"
    said, code, writes = lines[6:9]
    assert "read-only" in said and code == "read-only: 1" and writes == "generate: 0"
    assert lines[9:] == ["room again: 0"]
    assert remains(tmp_path) == undisturbed


# Prints the memory held after each step, as medians of the second and of the last quarter of the steps.
MEDIANS = """
import statistics, sys
from pathlib import Path
from tinygrad_llm.cli import main
from tinygrad_llm.train import Trainer

sizes = []

def measured(trainer, step=Trainer.take_step):
    step(trainer)
    sizes.append(int(Path("/proc/self/statm").read_text().split()[1]))

Trainer.take_step = measured
code = main(sys.argv[1:])
quarter = len(sizes) // 4
print(*map(statistics.median_low, (sizes[quarter : 2 * quarter], sizes[-quarter:])))
sys.exit(code)
"""


def newest_checkpoint(folder: Path) -> str:
    return max((path.name for path in folder.glob("run/checkpoints/step-*")), default="")


@pytest.mark.slow
def test_restarts_again_and_again_change_no_bit_and_take_no_more_memory(folder: Any) -> None:
    """A run killed five times, and the same run undisturbed."""
    endless = ["--steps", "1000000", "--eval-interval", "20"]
    (folder / "killed").mkdir()
    (folder / "whole").mkdir()
    dice, kills, peaks = random.Random(1), 5, []
    for _ in range(kills):
        before = newest_checkpoint(folder / "killed")
        with start(training(folder / "killed", *endless), subprocess.DEVNULL) as process:
            while newest_checkpoint(folder / "killed") == before and process.poll() is None:
                time.sleep(0.01)
            time.sleep(dice.uniform(0.2, 2))
            assert process.poll() is None
            peaks.append(memory(process))
            process.send_signal(dice.choice([signal.SIGKILL, signal.SIGKILL, signal.SIGTERM]))
            process.communicate(timeout=PATIENCE)
    reached = int(newest_checkpoint(folder / "killed").removeprefix("step-")) + 1
    finish(training(folder / "killed", "--stop-at", str(reached)))

    command = training(folder / "whole", *endless, "--stop-at", str(reached))
    early, late = map(int, finish([sys.executable, "-c", MEDIANS, *command[len(PROGRAM) :]]).split()[-2:])
    assert remains(folder / "killed") == remains(folder / "whole")
    page = os.sysconf("SC_PAGE_SIZE")
    print(f"{kills} kills, {reached} steps; memory {min(peaks) / 1e6:.1f} to {max(peaks) / 1e6:.1f} MB over restarts")
    print(f"undisturbed: {page * early / 1e6:.1f} MB early, {page * late / 1e6:.1f} MB late")
    assert max(peaks) < 1.1 * min(peaks) + 5e6
    assert page * late < 1.02 * page * early + 1e6


# -- workers that share each step


WORKERS = [*STEPS, "--workers", "3"]


def children(process: subprocess.Popen[str]) -> list[int]:
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline and process.poll() is None:
        found = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
        if len(found) == 2:
            return [int(number) for number in found]
        time.sleep(0.002)
    raise AssertionError("the run has started no workers")


def have_ended(processes: list[int]) -> bool:
    """Whether no process of these runs, in the end."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        if not any(Path(f"/proc/{number}/cmdline").exists() and _is_running(number) for number in processes):
            return True
        time.sleep(0.01)
    return False


def _is_running(number: int) -> bool:
    try:
        return Path(f"/proc/{number}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


@pytest.mark.slow
def test_workers_end_with_their_run_however_it_ends_and_no_bit_changes(folder: Path) -> None:
    whole = folder / "whole"
    whole.mkdir()
    finish(training(whole, *WORKERS))
    for signum in (signal.SIGKILL, signal.SIGTERM, signal.SIGINT):
        before = log_size(folder)
        with start(held(training(folder, *WORKERS), 12)) as process:
            workers = children(process)
            wait_for_a_step(process, folder, before)
            process.send_signal(signum)
        assert have_ended(workers)
    before = log_size(folder)
    with start(held(training(folder, *WORKERS), 12)) as process:
        workers = children(process)
        wait_for_a_step(process, folder, before)
        os.kill(workers[-1], signal.SIGKILL)
        process.send_signal(signal.SIGUSR1)
        _, errors = process.communicate(timeout=PATIENCE)
    assert have_ended(workers)
    assert process.returncode == 1
    assert len(errors.splitlines()) == 1 and "worker 3 of 3" in errors and "was killed by SIGKILL" in errors
    finish(training(folder, *WORKERS))
    assert remains(folder) == remains(whole)
