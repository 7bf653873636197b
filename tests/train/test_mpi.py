"""Real processes, started by mpiexec: losses, resuming, interruptions, kills and errors.

The rest of what several processes do is tested with threads in test_several_processes.py.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from training_process import (
    ENVIRONMENT,
    PATIENCE,
    PROGRAM,
    TEXT,
    finish,
    held,
    log_size,
    remains,
    start,
    training,
    wait_for_a_step,
)

from tinygrad_llm.cli import main
from tinygrad_llm.formats import newest_whole_snapshot, read_metrics
from tinygrad_llm.runs.environment import crowding
from tinygrad_llm.train.parallel import launch, mpi
from tinygrad_llm.train.parallel.cores_and_memory import available_cores
from tinygrad_llm.train.parallel.launch import Launch

STEPS = ["--steps", "60", "--eval-interval", "4", "--eval-batches", "3"]
BOUND = 1e-6  # relative: how far losses may be apart, in float32, after 60 steps with another number of processes
MPIEXEC = shutil.which("mpiexec", path=os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")]))


@pytest.fixture(scope="module")
def mpiexec() -> str:
    pytest.importorskip("mpi4py")
    if MPIEXEC is None:
        pytest.skip("there is no mpiexec beside mpi4py")
    return MPIEXEC


@pytest.fixture
def folder() -> Iterator[Path]:
    """In memory where there is such a place, as a run of many small steps is mostly waiting for the disk."""
    place = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    with tempfile.TemporaryDirectory(dir=place) as name:
        yield Path(name)


def shared(mpiexec: str, processes: int, command: list[str]) -> list[str]:
    return [mpiexec, "-n", str(processes), *command]


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory, mpiexec: Any) -> dict[str, object]:
    """What two processes leave that nobody disturbs."""
    folder = tmp_path_factory.mktemp("undisturbed")
    finish(shared(mpiexec, 2, training(folder, *STEPS)))
    return remains(folder)


def losses(folder: Path) -> np.ndarray:
    """Training and validation losses. Shapes: (steps, 2), NaN where nothing was validated."""
    records = read_metrics(folder / "run" / "metrics.jsonl")
    return np.array([[record["train_loss"], record.get("val_loss", np.nan)] for record in records])


def rank(process: subprocess.Popen[str], number: int) -> int:
    """The id of one of the processes that this mpiexec has started."""
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        below = {process.pid}
        for entry in sorted(Path("/proc").glob("[0-9]*"), key=lambda entry: int(entry.name)):
            try:
                parent = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
                surroundings = (entry / "environ").read_bytes().split(b"\0")
            except (OSError, ValueError):
                continue
            if parent in below:
                below.add(int(entry.name))
                if f"PMI_RANK={number}".encode() in surroundings:
                    return int(entry.name)
        time.sleep(0.01)
    raise AssertionError(f"mpiexec started no rank {number}")


def has_ended(process: int) -> bool:
    """Whether the process ends: the system may still be at it when mpiexec has ended."""
    deadline = time.monotonic() + PATIENCE
    while (entry := Path(f"/proc/{process}")).exists() and time.monotonic() < deadline:
        time.sleep(0.01)
    return not entry.exists()


@pytest.mark.slow
def test_the_loss_curve_does_not_depend_on_the_number_of_processes(folder: Any, mpiexec: Any, undisturbed: Any) -> None:
    """And for one number of them, it is the same to the last bit."""
    curves: dict[Any, np.ndarray] = {}
    for processes in (1, 2, 4):
        (folder / str(processes)).mkdir()
        finish(shared(mpiexec, processes, training(folder / str(processes), *STEPS)))
        curves[processes] = losses(folder / str(processes))
    (folder / "alone").mkdir()
    finish(training(folder / "alone", *STEPS))
    np.testing.assert_array_equal(losses(folder / "alone"), curves[1])
    (folder / "workers").mkdir()
    finish(shared(mpiexec, 2, training(folder / "workers", *STEPS, "--workers", "2")))
    curves[2, 2] = losses(folder / "workers")  # two processes of two workers each
    for processes in (2, 4, (2, 2)):
        np.testing.assert_allclose(curves[processes], curves[1], rtol=BOUND)
    assert remains(folder / "2") == undisturbed


@pytest.mark.slow
def test_a_checkpoint_resumes_with_as_many_processes_or_others(folder: Any, mpiexec: Any, undisturbed: Any) -> None:
    for name, numbers in (("same", (2, 2, 2)), ("others", (4, 1, 2))):
        (folder / name).mkdir()
        for processes, stop in zip(numbers, ("7", "33", "60"), strict=True):
            printed = finish(shared(mpiexec, processes, training(folder / name, *STEPS, "--stop-at", stop)))
    assert remains(folder / "same") == undisturbed
    assert "another number of processes (1 before, 2 now)" in printed
    np.testing.assert_allclose(losses(folder / "others"), losses(folder / "same"), rtol=BOUND)


@pytest.mark.slow
@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM])
def test_an_interruption_finishes_the_step_everywhere_and_saves(
    folder: Any, mpiexec: Any, undisturbed: Any, signum: Any
) -> None:
    with start(shared(mpiexec, 2, held(training(folder, *STEPS), 30))) as process:
        wait_for_a_step(process, folder, 0)
        process.send_signal(signum)
        printed, errors = process.communicate(timeout=PATIENCE)
    assert (process.returncode, errors) == (128 + signum, "")
    logged = len(remains(folder)["log"])
    assert f"interrupted; saved after step {logged}\ncontinue: mpiexec -n 2 " in printed
    finish(shared(mpiexec, 2, training(folder)))
    assert remains(folder) == undisturbed


@pytest.mark.slow
def test_a_signal_to_one_process_stops_all(folder: Any, mpiexec: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(ENVIRONMENT, "HELD_RANK", "1")
    with start(shared(mpiexec, 2, held(training(folder, *STEPS), 30))) as process:
        second = rank(process, 1)
        wait_for_a_step(process, folder, 0)
        os.kill(second, signal.SIGTERM)
        printed, errors = process.communicate(timeout=PATIENCE)
    assert (process.returncode, errors) == (128 + signal.SIGTERM, "")
    assert "interrupted; saved after step" in printed


@pytest.mark.slow
@pytest.mark.parametrize("killed", [0, 1])
def test_the_death_of_one_process_ends_all_and_loses_no_checkpoint(
    folder: Any, mpiexec: Any, undisturbed: Any, killed: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(ENVIRONMENT, "HELD_RANK", str(killed))
    for moment in (0.0, 0.05, 0.13):
        before = log_size(folder)
        with start(shared(mpiexec, 2, held(training(folder, *STEPS), 18))) as process:
            victim, other = rank(process, killed), rank(process, 1 - killed)
            wait_for_a_step(process, folder, before)
            time.sleep(moment)
            os.kill(victim, signal.SIGKILL)
            process.communicate(timeout=PATIENCE)
        assert process.returncode != 0
        assert has_ended(other)
        _, problems = newest_whole_snapshot(folder / "run" / "checkpoints")
        assert not problems
    finish(shared(mpiexec, 2, training(folder)))
    assert remains(folder) == undisturbed


BREAKS = """
import os, sys, time
from tinygrad_llm.cli import main
from tinygrad_llm.runs import pretraining
from tinygrad_llm.train import Trainer

def failing(self, *args, step=Trainer.take_step):
    if self.step == 5 and os.environ["PMI_RANK"] == "1":
        raise MemoryError
    step(self)

def slow(*args):
    print("preparing", flush=True)
    time.sleep(600)

if sys.argv.pop(1) == "fail":
    Trainer.take_step = failing
else:
    pretraining.make_tokenizer = slow
sys.exit(main(sys.argv[1:]))
"""


def breaking(how: str, command: list[str]) -> list[str]:
    assert command[: len(PROGRAM)] == PROGRAM
    return [sys.executable, "-c", BREAKS, how, *command[len(PROGRAM) :]]


def ours(errors: str) -> list[str]:
    """Standard error without what MPI itself says of the end."""
    return [line for line in errors.splitlines() if line.strip() and "MPI_Abort" not in line]


@pytest.mark.slow
def test_an_error_in_one_process_ends_all_with_one_line_of_error(folder: Any, mpiexec: Any, undisturbed: Any) -> None:
    with start(shared(mpiexec, 2, breaking("fail", training(folder, *STEPS)))) as process:
        _, errors = process.communicate(timeout=PATIENCE)
    assert process.returncode == 1
    assert ours(errors) == ["process 1: tinygrad-llm train: out of memory"]
    finish(shared(mpiexec, 2, training(folder)))
    assert remains(folder) == undisturbed


@pytest.mark.slow
def test_ctrl_c_while_the_first_process_prepares_the_data_ends_all(folder: Any, mpiexec: Any) -> None:
    with start(shared(mpiexec, 2, breaking("wait", training(folder, *STEPS)))) as process:
        printed = iter(process.stdout.readline, "")  # to the end of the output, at most
        assert "preparing\n" in printed
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=PATIENCE)
    assert process.returncode == 130
    assert ours(errors) == ["interrupted"]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["train", "--steps", "x"], 2, "--steps must be an integer; got"),
        (["train", "--data", "no/such/file"], 2, "no/such/file"),
        (["train", "--resume", "--out", "no/such/run"], 2, "there is no run folder no/such/run"),
        (["generate", "--model", "run"], 2, "generate is work for one process; start it without mpiexec"),
    ],
)
def test_an_error_of_all_processes_is_printed_once(
    mpiexec: Any, tmp_path: Path, arguments: Any, code: Any, message: Any
) -> None:
    command = shared(mpiexec, 3, [*PROGRAM, *arguments])
    done = subprocess.run(command, capture_output=True, text=True, env=ENVIRONMENT, timeout=PATIENCE, cwd=tmp_path)
    assert done.returncode == code
    assert len(ours(done.stderr)) == 1 and message in done.stderr


@pytest.mark.slow
def test_a_launcher_of_another_mpi_is_noticed(mpiexec: Any, tmp_path: Path) -> None:
    environment = ENVIRONMENT | {"OMPI_COMM_WORLD_RANK": "0", "OMPI_COMM_WORLD_SIZE": "2"}
    command = [*PROGRAM, "train"]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=PATIENCE, cwd=tmp_path)
    assert done.returncode == 2
    assert "mpiexec and mpi4py must belong to one MPI: mpiexec started 2 processes" in done.stderr


SUMS = """
import numpy as np
from tinygrad_llm.train.parallel.mpi import join_launch, PIECE

world = join_launch()
for size in (0, 1, 2, 3, 1000, PIECE * world.size + 1, 2 * PIECE * world.size - 1):
    for dtype in (np.float32, np.float64):
        arrays = [np.sin(np.arange(size) * (rank + 1.5)).astype(dtype) for rank in range(world.size)]
        expected = arrays[0].copy()
        for array in arrays[1:]:
            expected += array
        array = arrays[world.rank].copy()
        assert world.sum(array) is array
        np.testing.assert_array_equal(array, expected)
square = np.full((3, 5), float(world.rank))
assert (world.sum(square) == sum(range(world.size))).all()
told = world.broadcast({"weights": np.arange(7.0), "step": 3} if world.rank == 0 else "not looked at")
assert told["step"] == 3 and told["weights"].tolist() == list(range(7))
told["weights"] += 1  # what came may be written to
print("well", flush=True)
"""


@pytest.mark.slow
@pytest.mark.parametrize("processes", [1, 2, 3, 4])
def test_sums_are_in_the_order_of_ranks(mpiexec: Any, processes: Any) -> None:
    printed = finish(shared(mpiexec, processes, [sys.executable, "-c", SUMS]))
    assert printed.count("well") == processes  # the processes' lines may run into each other


# -- what needs no MPI


def test_a_process_started_alone_never_looks_for_mpi4py(tmp_path: Path) -> None:
    (tmp_path / "text.txt").write_text(TEXT)
    program = "import sys; from tinygrad_llm.cli import main; code = main(sys.argv[1:]); print('mpi4py' in sys.modules)"
    command = training(tmp_path, "--steps", "1")[len(PROGRAM) :]
    assert finish([sys.executable, "-c", program, *command]).endswith("\nFalse\n")


def test_mpiexec_without_mpi4py_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(mpi, "_world", None)  # an earlier test may have trained alone
    monkeypatch.setenv("PMI_RANK", "0")
    monkeypatch.setenv("PMI_SIZE", "2")
    monkeypatch.setitem(sys.modules, "mpi4py", None)
    assert main(["train", "--out", str(tmp_path / "run")]) == 1
    said = capsys.readouterr().err
    assert len(said.splitlines()) == 1
    assert "one of 2 processes, which needs mpi4py" in said and "pip install 'tinygrad-llm[mpi]'" in said
    monkeypatch.setenv("MPI_LOCALRANKID", "1")  # one process of a machine says it for the others
    assert main(["train", "--out", str(tmp_path / "run")]) == 1
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    ("surroundings", "expected"),
    [
        ({}, None),
        ({"PMI_RANK": "1", "PMI_SIZE": "4", "MPI_LOCALRANKID": "0"}, launch.Launch(1, 4, 0)),
        ({"OMPI_COMM_WORLD_RANK": "3", "OMPI_COMM_WORLD_SIZE": "4"}, launch.Launch(3, 4, 0)),
        ({"PMIX_RANK": "2", "SLURM_NTASKS": "8", "SLURM_LOCALID": "1"}, launch.Launch(2, 8, 1)),
        ({"PMI_RANK": "x", "PMI_SIZE": "2"}, None),
        ({"SLURM_NTASKS": "8"}, None),
    ],
)
def test_how_a_process_was_started_is_read_from_its_environment(
    monkeypatch: pytest.MonkeyPatch, surroundings: dict[str, Any], expected: Launch | None
) -> None:
    for name in [name for names in launch.LAUNCHERS for name in names]:
        monkeypatch.delenv(name, raising=False)
    for name, value in surroundings.items():
        monkeypatch.setenv(name, value)
    assert launch.find_launch() == expected


@pytest.mark.parametrize(
    ("threads", "processes", "cores", "advice"),
    [
        ({"OPENBLAS_NUM_THREADS": "1"}, 2, 2, None),
        ({"OPENBLAS_NUM_THREADS": "2"}, 2, 2, "2 processes of 2 BLAS threads share 2 cores .* OPENBLAS_NUM_THREADS=1$"),
        ({"OPENBLAS_NUM_THREADS": "4", "OMP_NUM_THREADS": "1"}, 2, 8, None),
        ({"OMP_NUM_THREADS": "8"}, 3, 8, "set OPENBLAS_NUM_THREADS=2$"),
        ({"OMP_NUM_THREADS": "1"}, 3, 2, "start at most 2, with OPENBLAS_NUM_THREADS=1$"),
        ({"OMP_NUM_THREADS": "zero"}, 2, 1, "2 processes of 1 BLAS thread share 1 core and "),
    ],
)
def test_more_threads_than_cores_are_warned_of(
    monkeypatch: pytest.MonkeyPatch, threads: dict[str, str], processes: int, cores: int, advice: str | None
) -> None:
    for name in ("OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "OMP_NUM_THREADS", "VECLIB_MAXIMUM_THREADS"):
        monkeypatch.delenv(name, raising=False)
    for name, value in threads.items():
        monkeypatch.setenv(name, value)
    warning = crowding(processes, cores)
    if advice is None:
        assert warning is None
    else:
        assert warning is not None
        assert re.search(advice, warning)


def test_threads_without_a_limit_use_all_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "OMP_NUM_THREADS", "VECLIB_MAXIMUM_THREADS"):
        monkeypatch.delenv(name, raising=False)
    cores = len(available_cores())
    assert crowding(1, cores) is None
    assert f"2 processes of {cores} BLAS thread" in crowding(2, cores)
