"""Training processes for tests: `python -m tinygrad_llm train` on a tiny model, and the files of a run."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

from tinygrad_llm.formats import newest_whole_snapshot, read_json, read_metrics

TEXT = "The quick brown fox jumps over the lazy dog, again and again.\nHow quickly daft jumping zebras vex!\n" * 40
PATIENCE = 300.0  # seconds until a wait fails: a busy machine may let a process wait for many
PROGRAM = [sys.executable, "-m", "tinygrad_llm"]
ENVIRONMENT = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(Path(__file__).resolve().parents[1])}
TINY_MODEL = ["--num-layers", "1", "--num-heads", "2", "--embedding-dim", "16"]
TINY_RUN = [*TINY_MODEL, "--context-length", "16", "--batch-size", "4"]
# Dropout, three batches per step, and several epochs in 60 steps: every part of the state that a resume must restore.
SIZES = [
    *TINY_MODEL,
    "--context-length",
    "32",
    "--batch-size",
    "7",
    "--dropout",
    "0.1",
    "--warmup-steps",
    "5",
    "--grad-accumulation",
    "3",
    "--eval-batches",
    "1",
    "--tokenizer",
    "char",
]


def training(folder: Path, *options: str) -> list[str]:
    """The command that begins the run `folder/run`, or goes on with it."""
    out = folder / "run"
    if (out / "config.json").exists():
        return [*PROGRAM, "train", "--resume", "--out", str(out), *options]
    text = folder / "text.txt"
    text.write_text(TEXT)
    return [*PROGRAM, "train", "--data", str(text), "--out", str(out), *SIZES, *options]


# The system writes into the pipe when a signal comes, so that none is missed, however early it comes. Of several
# processes that mpiexec starts, the one of rank $HELD_RANK waits. SIGUSR1 lets it go on, and does nothing else.
HOLD = """
import os, pkgutil, runpy, signal, sys

came, coming = os.pipe()
os.set_blocking(coming, False)
signal.set_wakeup_fd(coming)
signal.signal(signal.SIGUSR1, lambda *_: None)
owner, _, method = sys.argv.pop(1).rpartition(".")
owner, left = pkgutil.resolve_name(owner), int(sys.argv.pop(1))
call = getattr(owner, method)

def held(*arguments, **named):
    global left
    left -= 1
    if left == -1 and os.environ.get("PMI_RANK", "0") == os.environ.get("HELD_RANK", "0"):
        os.read(came, 1)
    return call(*arguments, **named)

setattr(owner, method, held)
"""
STEP = "tinygrad_llm.train:Trainer.take_step"


def held(command: list[str], calls: int, method: str = STEP) -> list[str]:
    """The same command, whose process waits for a signal after so many calls of a method, by default that of a step.

    So a signal that is sent in the middle comes in the middle, however long the sender had to wait for its turn.
    """
    assert command[: len(PROGRAM)] == PROGRAM
    program = HOLD + "from tinygrad_llm.cli import main\nsys.exit(main(sys.argv[1:]))"
    return [sys.executable, "-c", program, method, str(calls), *command[len(PROGRAM) :]]


def held_script(script: str, steps: int) -> list[str]:
    """The command that runs a script, whose process waits for a signal after so many steps of training."""
    program = HOLD + "runpy.run_path(sys.argv.pop(1), run_name='__main__')"
    return [sys.executable, "-u", "-c", program, STEP, str(steps), script]


def start(command: list[str], stdout: int = subprocess.PIPE, cwd: Path | None = None) -> subprocess.Popen[str]:
    """Start without waiting. A long run needs another `stdout`: an unread pipe is full after 64 KB."""
    return subprocess.Popen(command, stdout=stdout, stderr=subprocess.PIPE, text=True, env=ENVIRONMENT, cwd=cwd)


def finish(command: list[str]) -> str:
    """Run to the end, which must succeed; returns what was printed."""
    done = subprocess.run(command, capture_output=True, text=True, env=ENVIRONMENT, timeout=600)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


def log_size(folder: Path) -> int:
    log = folder / "run" / "metrics.jsonl"
    return log.stat().st_size if log.exists() else 0


def wait_for_a_step(process: subprocess.Popen[str], folder: Path, log_before: int) -> None:
    """Wait until the process has logged a step or ended. Resuming may first shorten the log."""
    deadline = time.monotonic() + PATIENCE
    while process.poll() is None:
        size = log_size(folder)
        if size > log_before:
            return
        log_before = min(log_before, size)
        assert time.monotonic() < deadline, "no step was logged"
        time.sleep(0.002)


def remains(folder: Path) -> dict[str, object]:
    """The bytes of weights and optimizer, the state of the loop, and every logged figure except the speed."""
    snapshot, problems = newest_whole_snapshot(folder / "run" / "checkpoints")
    assert snapshot is not None and not problems
    records = read_metrics(folder / "run" / "metrics.jsonl")
    published = (folder / "run" / "model.safetensors").read_bytes()
    assert published == (snapshot / "model.safetensors").read_bytes()
    state = read_json(snapshot / "state.json")
    return {
        "weights": published,
        "optimizer": (snapshot / "optimizer.safetensors").read_bytes(),
        "loop": json.dumps([state["trainer"], state["optimizer"]]),
        "log": [
            {name: value for name, value in record.items() if name not in ("tokens_per_second", "seconds")}
            for record in records
        ],
    }


def memory(process: subprocess.Popen[str]) -> int:
    """Resident memory of the process. Units: bytes."""
    pages = int(Path(f"/proc/{process.pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")
