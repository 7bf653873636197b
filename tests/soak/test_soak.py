"""Training runs under random disturbances: one scenario of each kind of run, and random ones for as long as asked."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

SOAK = Path(__file__).with_name("soak.py")

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="needs Linux's signals, mounts and /proc")


def soak(*words: str) -> None:
    done = subprocess.run([sys.executable, str(SOAK), *words], capture_output=True, text=True)
    print(done.stdout)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.slow
def test_a_few_random_runs_under_random_disturbances() -> None:
    soak("--scenarios", "3")


@pytest.mark.soak
def test_random_runs_under_random_disturbances() -> None:
    soak("--minutes", str(float(os.environ.get("TINYGRAD_LLM_SOAK_SECONDS", "600")) / 60))
