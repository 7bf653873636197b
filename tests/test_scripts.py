"""A script ends without a traceback when its output is closed or when it is interrupted."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="needs signals")
ROOT = Path(__file__).parents[1]
BEGIN = "from tinygrad_llm.scripts import end_quietly; end_quietly(); "


def start(program: str) -> subprocess.Popen[str]:
    command, pipe = [sys.executable, "-c", BEGIN + program], subprocess.PIPE
    return subprocess.Popen(command, cwd=ROOT, stdin=pipe, stdout=pipe, stderr=pipe, text=True)


@pytest.mark.parametrize("program", ["print('a' * 100_000); print('b')", "print('a')"], ids=["at once", "at the end"])
def test_a_closed_pipe_ends_it_as_it_ends_other_programs(program: str) -> None:
    with start("print('begun', flush=True); input(); " + program) as process:
        assert process.stdin and process.stdout and process.stderr and process.stdout.readline() == "begun\n"
        process.stdout.close()
        print("go on", file=process.stdin, flush=True)
        assert process.stderr.read() == ""
    assert process.returncode == -signal.SIGPIPE


@pytest.mark.parametrize(
    ("raised", "signum"),
    [
        ("KeyboardInterrupt", signal.SIGINT),
        ("KeyboardInterrupt(2)", signal.SIGINT),
        ("KeyboardInterrupt(15)", signal.SIGTERM),
    ],
)
def test_an_interruption_ends_it_by_its_signal(raised: str, signum: int) -> None:
    with start(f"print('kept'); raise {raised}") as process:
        printed, errors = process.communicate()
    assert (process.returncode, errors) == (-signum, "")
    assert printed == "kept\n"


def test_any_other_error_keeps_its_traceback() -> None:
    with start("1 / 0") as process:
        _, errors = process.communicate()
    assert process.returncode == 1 and errors.startswith("Traceback") and "ZeroDivisionError" in errors
