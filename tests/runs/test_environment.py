"""The environment that a checkpoint records, and the notice where it has changed."""

import os
import platform
import subprocess
import sys

import numpy as np
import pytest

from tinygrad_llm.runs import environment
from tinygrad_llm.runs.environment import arithmetic_environment, differences
from tinygrad_llm.train.parallel.blas_threads import VARIABLES, openblas_kernels


def test_the_same_environment_has_no_difference() -> None:
    assert differences(arithmetic_environment(2), 2) == []


def test_a_notice_names_what_has_changed() -> None:
    now = arithmetic_environment()
    saved = {**now, "numpy": "1.0", "kernels": "Nehalem", "threads": "default of 9 cores"}
    del saved["blas"], saved["number of processes"]  # one process, before their number was recorded
    assert differences(saved) == [
        f"the run is resumed with another {name} ({was} before, {now[key]} now), so it may differ in last bits"
        for name, was, key in (
            ("NumPy", "1.0", "numpy"),
            ("BLAS", "unknown", "blas"),
            ("set of kernels", "Nehalem", "kernels"),
            ("number of BLAS threads", "default of 9 cores", "threads"),
        )
    ]


def test_a_checkpoint_that_recorded_no_kernels_has_no_notice_of_them() -> None:
    saved = arithmetic_environment()
    del saved["kernels"]
    assert differences(saved) == []


@pytest.mark.skipif(platform.machine() not in ("x86_64", "AMD64"), reason="names a processor of this kind")
def test_the_kernels_that_openblas_uses_are_recorded() -> None:
    if openblas_kernels() is None:
        pytest.skip("NumPy has another BLAS here")
    printing = "from tinygrad_llm.runs.environment import *; print(arithmetic_environment()['kernels'])"
    environment = {**os.environ, "OPENBLAS_CORETYPE": "Nehalem"}
    told = subprocess.run([sys.executable, "-c", printing], env=environment, capture_output=True, text=True, check=True)
    assert told.stdout.split()[0] == "Nehalem"


def test_a_numpy_without_kernels_of_its_own_and_without_openblas(monkeypatch: pytest.MonkeyPatch) -> None:
    parts = {"Build Dependencies": {"blas": {}}}  # NumPy leaves empty parts out
    monkeypatch.setattr(np, "show_config", lambda mode: parts)
    monkeypatch.setattr(environment, "openblas_kernels", lambda: None)
    assert arithmetic_environment()["kernels"] == "unknown"


@pytest.mark.parametrize(("cores", "words"), [(1, "default of 1 core"), (3, "default of 3 cores")])
def test_threads_that_nobody_chose_are_those_of_the_cores(
    monkeypatch: pytest.MonkeyPatch, cores: int, words: str
) -> None:
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(environment, "available_cores", lambda: set(range(cores)))
    assert arithmetic_environment()["threads"] == words
