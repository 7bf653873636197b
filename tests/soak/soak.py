"""Random training runs under random disturbances; each must end with the bits of the undisturbed run.

    python tests/soak/soak.py --minutes 480             # overnight
    python tests/soak/soak.py --seed 17 --scenarios 1   # the scenario of seed 17 again

A scenario draws one of the trainable models (GPT, Llama, BERT, translation, classification, instructions, preferences),
its settings and its disturbances from its seed, trains once undisturbed and once disturbed, and compares weights,
optimizer, state of the loop and log. Disturbances:

    kill          SIGKILL, SIGTERM, SIGINT or SIGHUP at a random moment, SIGTERM sometimes twice
    pause         SIGSTOP, SIGCONT a moment later, and then a kill
    full disk     the disk of the run has no room, for good or for a moment
    slow disk     each flush, rename and removal takes up to 30 ms, and then a kill
    wrong clock   the wall clock jumps back and forth by up to a day, and then a kill
    two at once   a second process wants the same run folder and is refused; then the first is killed
    worker        SIGKILL to one of the workers that share each step
    process       SIGKILL or SIGTERM to one of two processes that share a run, where mpi4py is installed

No worker may outlive its run.

The moments of a kill depend on the machine, so a scenario that failed once may need `--repeat` to fail again. Full
disks need a small file system of their own: the program starts itself in its own mount namespace, where Linux allows
that, and otherwise leaves this disturbance out and says so.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib.util
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent)]

from scenario import BASE_SIZES, BASES, Scenario, draw, write_data  # noqa: E402
from training_process import ENVIRONMENT, PROGRAM, remains  # noqa: E402

DISK_MEGABYTES = 24
IN_NAMESPACE = "SOAK_IN_MOUNT_NAMESPACE"
MPIEXEC = shutil.which("mpiexec", path=os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")]))
MPIEXEC = MPIEXEC if importlib.util.find_spec("mpi4py") else None
SECONDS = 300  # time limit of any process: a busy machine may let one wait for many
SIGNALS = [signal.SIGKILL, signal.SIGKILL, signal.SIGTERM, signal.SIGHUP, signal.SIGINT]


class Failed(Exception):
    """A run that did not behave as it must."""


def start(words: Sequence[str], processes: int = 1, **faults: str) -> subprocess.Popen[str]:
    shared = [str(MPIEXEC), "-n", str(processes)] if processes > 1 and MPIEXEC else []
    environment = ENVIRONMENT | {"OPENBLAS_NUM_THREADS": "1", "PYTHONWARNINGS": "error"} | faults
    if faults:
        environment["PYTHONPATH"] = os.pathsep.join([str(HERE / "faults"), environment["PYTHONPATH"]])
    # Standard output goes to the null device: a run that nobody reads would wait once a pipe is full.
    pipes = {"stdout": subprocess.DEVNULL, "stderr": subprocess.PIPE}
    return subprocess.Popen([*shared, *PROGRAM, *words], text=True, env=environment, **pipes)


def wait_for(process: subprocess.Popen[str], allowed: Sequence[int]) -> tuple[int, str]:
    """Wait for the end; the exit code must be allowed, and an error must be one line. Raises: Failed"""
    try:
        _, errors = process.communicate(timeout=SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()
        raise Failed(f"did not end within {SECONDS} s: {process.args}") from None
    code = process.returncode
    if code not in allowed or "Traceback" in errors or "a fault of this program" in errors or len(errors) > 2000:
        raise Failed(f"exit code {code}, allowed {list(allowed)}: {process.args}\n{errors}")
    return code, errors


def workers(process: subprocess.Popen[str]) -> list[int]:
    """The ids of the training processes that an mpiexec has started."""
    below = {process.pid}
    found = []
    for entry in sorted(Path("/proc").glob("[0-9]*"), key=lambda entry: int(entry.name)):
        with contextlib.suppress(OSError):  # it has ended
            parent = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
            if parent in below:
                below.add(int(entry.name))
                if b"PMI_RANK=" in (entry / "environ").read_bytes():
                    found.append(int(entry.name))
    return found


def children(process: subprocess.Popen[str]) -> list[int]:
    """The ids of the processes that a process has started: its workers."""
    try:
        return [int(word) for word in Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()]
    except OSError:  # it has ended
        return []


def expect_ended(processes: Sequence[int]) -> None:
    """Raises: Failed if one of the processes still runs a minute from now"""
    deadline = time.monotonic() + 60
    running = list(processes)
    while running and time.monotonic() < deadline:
        running = [one for one in running if Path(f"/proc/{one}").exists() and _state(one) != "Z"]
        time.sleep(0.01)
    if running:
        raise Failed(f"workers outlived their run: {running}")


def _state(process: int) -> str:
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return "Z"


def finish(words: Sequence[str], processes: int = 1) -> None:
    """Run to the end, which must succeed and print nothing to stderr. Raises: Failed"""
    _, errors = wait_for(start(words, processes), [0])
    if errors:
        raise Failed(f"{words}: {errors}")


class Disturbed:
    """A run of one scenario in `folder`/run, and its disturbances."""

    def __init__(self, scenario: Scenario, folder: Path, dice: random.Random, own_disk: bool) -> None:
        self.scenario, self.folder, self.dice, self.own_disk = scenario, folder, dice, own_disk
        self.out = folder / "run"

    def words(self) -> list[str]:
        """The command that goes on: until the run has written its config.json, the one that begins it."""
        return (self.scenario.resume if (self.out / "config.json").exists() else self.scenario.begin)(self.out)

    def disturb(self) -> str:
        """One random disturbance; returns its name."""
        if self.scenario.processes > 1 and MPIEXEC:
            self.process()
            return "process"
        names = ["kill", "kill", "kill", "pause", "slow disk", "wrong clock", "two at once"]
        names += ["worker"] * 3 * (self.scenario.workers > 1)
        name = self.dice.choice([*names, "full disk"] if self.own_disk else names)
        getattr(self, name.replace(" ", "_"))()
        return name

    def kill(self, **faults: str) -> None:
        process = start(self.words(), **faults)
        self._wait_for_moment(process)
        self._end(process)

    def _end(self, process: subprocess.Popen[str]) -> None:
        below = children(process)
        signum = self.dice.choice(SIGNALS if self.logs else SIGNALS[:-1])  # Python itself prints a traceback at SIGINT
        process.send_signal(signum)
        if signum == signal.SIGTERM and self.dice.random() < 0.3:
            time.sleep(self.dice.uniform(0, 0.05))
            process.send_signal(signum)
        # Ended before, saved and ended, or killed while it started, when nothing is to be saved.
        wait_for(process, [0, 128 + signum, -signum])
        expect_ended(below)

    def worker(self) -> None:
        process = start(self.words())
        self._wait_for_moment(process)
        if below := children(process):
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.dice.choice(below), signal.SIGKILL)
        wait_for(process, [0, 1])
        expect_ended(below)

    def process(self) -> None:
        """The others must end as well. What mpiexec says about that, and its exit code, are its own."""
        process = start(self.words(), self.scenario.processes)
        self._wait_for_moment(process)
        if found := workers(process):
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.dice.choice(found), self.dice.choice([signal.SIGKILL, signal.SIGTERM]))
        try:
            process.communicate(timeout=SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            raise Failed("the other process did not end after one was killed") from None

    def pause(self) -> None:
        process = start(self.words())
        self._wait_for_moment(process)
        process.send_signal(signal.SIGSTOP)
        time.sleep(self.dice.uniform(0, 0.3))
        process.send_signal(signal.SIGCONT)
        time.sleep(self.dice.uniform(0, 0.3))
        self._end(process)

    def slow_disk(self) -> None:
        self.kill(SOAK_SLOW_DISK="0.03")

    def wrong_clock(self) -> None:
        self.kill(SOAK_CLOCK=str(self.dice.randint(0, 99)))

    def two_at_once(self) -> None:
        first = start(self.words())
        self._wait_for_moment(first)
        second = start(self.words())
        wait_for(second, [0, 1, 2])  # 0: the first had ended
        self._end(first)

    def full_disk(self) -> None:
        """Leave room for 0 to 100 KB; with even chances, make room again while the process still trains."""
        ballast = self.folder / "ballast"
        process = start(self.words())
        self._wait_for_moment(process)
        free = shutil.disk_usage(self.folder).free
        with contextlib.suppress(OSError):
            ballast.write_bytes(bytes(max(0, free - self.dice.randint(0, 100_000))))
        if self.dice.random() < 0.5:
            time.sleep(self.dice.uniform(0, 0.5))
            ballast.unlink()
        wait_for(process, [0, 1, 2])
        ballast.unlink(missing_ok=True)

    def _wait_for_moment(self, process: subprocess.Popen[str]) -> None:
        """A random moment: while the process starts, or after it has logged a step; `logs` tells which."""
        self.logs = False
        if self.dice.random() < 0.3:
            time.sleep(self.dice.uniform(0, 1))
            return
        log = self.out / "metrics.jsonl"
        before = log.stat().st_mtime_ns if log.exists() else 0
        deadline = time.monotonic() + SECONDS
        while process.poll() is None and time.monotonic() < deadline:
            if log.exists() and log.stat().st_mtime_ns != before:
                self.logs = True
                break
            time.sleep(0.002)
        time.sleep(self.dice.uniform(0, 0.4))


def check_scenario(seed: int, folder: Path, own_disk: bool) -> tuple[Scenario, list[str]]:
    """Train undisturbed and disturbed; returns the scenario and its disturbances. Raises: Failed"""
    scenario, dice = draw(seed, folder), random.Random(seed + 1)
    whole, hostile = folder / "undisturbed", folder / "disturbed"
    whole.mkdir()
    hostile.mkdir()
    finish(scenario.begin(whole / "run"), scenario.processes)
    with small_disk(hostile) if own_disk else contextlib.nullcontext():
        run = Disturbed(scenario, hostile, dice, own_disk)
        done = [run.disturb() for _ in range(dice.randint(2, 6))]
        finish(run.words(), scenario.processes)
        expected, found = remains(whole), remains(hostile)
        different = [name for name in expected if expected[name] != found[name]]
        if different:
            raise Failed(f"after {', '.join(done)}: not equal to the undisturbed run: {', '.join(different)}")
        left = [str(path) for path in run.out.rglob("*") if ".tmp" in path.name or path.name.endswith(".part")]
        if left:
            raise Failed(f"after {', '.join(done)}: left behind: {', '.join(left)}")
    shutil.rmtree(whole)
    shutil.rmtree(hostile)
    return scenario, done


@contextlib.contextmanager
def small_disk(folder: Path) -> Iterator[None]:
    size = f"size={DISK_MEGABYTES}m"
    subprocess.run(["mount", "-t", "tmpfs", "-o", size, "tmpfs", str(folder)], check=True)
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


def enter_mount_namespace() -> bool:
    """Whether this process has a mount namespace of its own; where that is allowed, start again in one."""
    if os.environ.get(IN_NAMESPACE):
        return True
    for unshare in (["unshare", "--mount"], ["unshare", "--user", "--map-root-user", "--mount"]):
        probe = [*unshare, "mount", "-t", "tmpfs", "tmpfs", "/mnt"]
        if shutil.which("unshare") and subprocess.run(probe, capture_output=True, check=False).returncode == 0:
            os.execvpe("unshare", [*unshare, sys.executable, *sys.argv], os.environ | {IN_NAMESPACE: "1"})
    print("no small file system can be mounted here: disks do not become full")
    return False


def main() -> int:
    parser = argparse.ArgumentParser(description="Train under random disturbances; compare with undisturbed runs.")
    parser.add_argument("--minutes", type=float, default=10, help="begin no scenario after this time (default: 10)")
    parser.add_argument("--seed", type=int, default=0, help="seed of the first scenario; the next is one more")
    parser.add_argument("--scenarios", type=int, default=0, help="end after N scenarios; 0: as --minutes says")
    parser.add_argument("--repeat", type=int, default=1, help="run each scenario N times (default: 1)")
    arguments = parser.parse_args()
    own_disk = enter_mount_namespace()
    if MPIEXEC is None:
        print("mpi4py or mpiexec is not installed: no run is shared by two processes")
    end, seed, disturbances, kinds = time.monotonic() + 60 * arguments.minutes, arguments.seed, Counter(), Counter()
    place = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    with tempfile.TemporaryDirectory(dir=place) as name:
        folder = Path(name)
        write_data(folder)
        for base, words in BASES.items():
            finish([*words, *BASE_SIZES, "--data", str(folder / "text.txt"), "--out", str(folder / base)])
        while time.monotonic() < end and not 0 < arguments.scenarios <= seed - arguments.seed:
            for _ in range(arguments.repeat):
                try:
                    scenario, done = check_scenario(seed, folder, own_disk)
                except Failed as failure:
                    print(f"FAILED: {failure}\n{' '.join(draw(seed, folder).words)}")
                    print(f"again: python tests/soak/soak.py --seed {seed} --scenarios 1 --repeat 20")
                    return 1
                print(f"seed {seed}: {scenario.kind}: equal after {', '.join(done)}", flush=True)
                disturbances.update(done)
                kinds[scenario.kind] += 1
            seed += 1
    print(f"{kinds.total()} runs equal their undisturbed runs: {_counted(kinds)}")
    print(f"{disturbances.total()} disturbances: {_counted(disturbances)}")
    return 0


def _counted(counter: Counter[str]) -> str:
    return ", ".join(f"{count} {name}" for name, count in counter.most_common())


if __name__ == "__main__":
    raise SystemExit(main())
