"""The CPU limit of a test: the run fails when a test without a mark takes more, and only then. Reverse order."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

CONFTEST = Path(__file__).with_name("conftest.py")
TESTS = r"""
import subprocess, sys, time
import pytest

WORK = "import time\nwhile time.process_time() < 0.2: pass"

def test_works_in_a_child(): subprocess.run([sys.executable, "-c", WORK], check=True)

@pytest.fixture
def work():
    started = time.process_time()
    while time.process_time() < started + 0.2: pass

def test_works_in_a_fixture(work): pass

@pytest.mark.slow
def test_is_marked(work): pass

def test_waits(): time.sleep(0.2)
"""


def run(folder: Path, *options: str) -> subprocess.CompletedProcess[str]:
    shutil.copy(CONFTEST, folder)
    (folder / "test_work.py").write_text(TESTS)
    (folder / "pytest.ini").write_text("[pytest]\nmarkers =\n    slow\n    soak\n")
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-q", *options]
    return subprocess.run(command, cwd=folder, env=os.environ, capture_output=True, text=True)


@pytest.mark.slow
def test_a_test_over_the_limit_fails_the_run_unless_it_is_marked(tmp_path: Path) -> None:
    done = run(tmp_path, "--cpu-limit", "0.15")
    assert done.returncode == 1
    failed = [line.split()[1] for line in done.stdout.splitlines() if line.startswith("FAILED")]
    assert failed == ["test_work.py::test_works_in_a_child:", "test_work.py::test_works_in_a_fixture:"]
    assert "4 passed" in done.stdout


@pytest.mark.slow
def test_the_last_test_comes_first_in_reverse_order(tmp_path: Path) -> None:
    orders = [
        run(tmp_path, "--collect-only", *options).stdout.split("\n\n")[0].splitlines()
        for options in ([], ["--reverse-order"])
    ]
    assert len(orders[0]) == 4 and orders[1] == orders[0][::-1]
